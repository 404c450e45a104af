"""Whose turn it is to take a connection: a pure rule over the counts that the workers tell each other."""

from __future__ import annotations

from collections.abc import Mapping

#: Told instead of a count by who takes no connections: it starts, or it ends.
AWAY = 2**62

#: Seconds until a worker looks again at what it has left to another, and after which it takes it anyway.
PAUSE = 0.001
PATIENCE = 0.005

_MOST = 64


def accepting(counts: Mapping[int, int], own: int) -> dict[int, int]:
    """The other workers' connections by seat, of those that take any."""
    return {seat: count for seat, count in counts.items() if seat != own and count < AWAY}


class Turns:
    """How many of the connections that wait one worker may take now.

    It leaves them to the worker that has the fewest, yet none for longer than `PATIENCE`: that one may be
    stopped, or hang. As long as it takes none itself, each wait in vain doubles what is taken after it.
    """

    def __init__(self) -> None:
        self._since: float | None = None
        self._fewest: tuple[int, int] | None = None
        self._vain = 1

    def allowed(self, mine: int, others: Mapping[int, int], now: float) -> int:
        """How many to take; 0: look again after `PAUSE`. `others` are connections by seat."""
        if not others:
            return _MOST
        count, seat = min((count, seat) for seat, count in others.items())
        if mine <= (most := count + count // 8):
            self._since = None
            return min(most + 1 - mine, _MOST)
        if self._fewest != (seat, count):
            self._fewest, self._vain = (seat, count), 1
        if self._since is None:
            self._since = now
        if now - self._since < PATIENCE:
            return 0
        self._since = now
        taken, self._vain = self._vain, min(2 * self._vain, _MOST)
        return taken

    def nothing_waits(self) -> None:
        """What was left to another has been taken."""
        self._since = None
