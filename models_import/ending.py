"""Work that a signal may end at any moment, save where something would be left half done."""

from __future__ import annotations


class Ended(BaseException):
    """The work was told to end. No `Exception`, so that nobody takes it for a failure of what he did."""


class Ending:
    """`ask` ends the work of the thread that signals interrupt, by raising `Ended` in it, once."""

    def __init__(self) -> None:
        self._asked = False
        self._held = False

    def ask(self, *_signal: object) -> None:
        """A signal's handler: raise `Ended` now, or as soon as nothing is held."""
        if self._asked:
            return
        self._asked = True
        if not self._held:
            raise Ended

    def hold(self) -> None:
        """What begins now is finished first. It is quick."""
        self._held = True

    def release(self) -> None:
        """It is finished; raises `Ended` if that was asked for meanwhile."""
        held, self._held = self._held, False
        if held and self._asked:
            raise Ended
