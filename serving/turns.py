"""Whose turn it is to take a connection: a pure rule over the counts that the workers tell each other."""

from __future__ import annotations

from collections.abc import Mapping

#: Told instead of a count by who takes no connections: it starts, or it ends.
AWAY = 2**62

#: Seconds until a worker looks again at what it has left to another, and how often it does so before it
#: takes it. Looks, not time: on a busy machine both are slow.
PAUSE = 0.001
PATIENCE = 5

#: Taken at once at most, alone and beside others: their counts may be a moment old.
_MOST, _SOME = 64, 4
#: How many waits in vain let one connection more be taken after each, and make the next ones shorter.
_MORE, _SHORTER = 8, 32


def accepting(counts: Mapping[int, int], own: int) -> dict[int, int]:
    """The other workers' connections by seat, of those that take any."""
    return {seat: count for seat, count in counts.items() if seat != own and count < AWAY}


class Turns:
    """How many of the connections that wait one worker may take now.

    It leaves them to the worker that has the fewest, yet the first of them for no more looks than `PATIENCE`,
    three times that if its own part is far too big: the other may be busy, or hang. As long as that one does
    not move, more and more is taken after each wait, and in the end there is none.
    """

    def __init__(self) -> None:
        self._looks = 0
        self._fewest: tuple[int, int] | None = None
        self._vain = 0

    def allowed(self, mine: int, others: Mapping[int, int]) -> int:
        """How many to take; 0: look again after `PAUSE`. `others` are connections by seat."""
        if not others:
            return _MOST
        count, seat = min((count, seat) for seat, count in others.items())
        if mine <= (most := count + count // 8):
            self._looks = 0
            return min(most + 1 - mine, _SOME)
        if self._fewest != (seat, count):
            self._fewest, self._vain = (seat, count), 0
        self._looks += 1
        if self._looks <= self._patience(mine, count):
            return 0
        self._looks = 0
        self._vain += 1
        return min(1 + self._vain // _MORE, _MOST)

    def _patience(self, mine: int, fewest: int) -> int:
        times = min(3, 1 + (mine - fewest) // (fewest + 8))
        return PATIENCE * times // (1 + self._vain // _SHORTER)

    def nothing_waits(self) -> None:
        """What was left to another has been taken."""
        self._looks = 0
