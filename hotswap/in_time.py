"""Work stops where nobody waits for it any more."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import overload

from hotswap.errors import DeadlineExceeded
from hotswap.runner import Picture


def late() -> DeadlineExceeded:
    """What a caller is told whose time is over."""
    return DeadlineExceeded("no answer within the request's time; send fewer at once")


class InTime(Sequence[Picture]):
    """Pictures that are handed out until `deadline`, a moment of `time.monotonic()`.

    A runner that asks for one later gets `DeadlineExceeded`: a thread that decoded the rest, which may
    take many times as long as the caller waited, would only keep others from being answered.
    """

    def __init__(self, pictures: Sequence[Picture], deadline: float) -> None:
        self._pictures = pictures
        self._deadline = deadline

    def __len__(self) -> int:
        return len(self._pictures)

    @overload
    def __getitem__(self, index: int) -> Picture: ...

    @overload
    def __getitem__(self, index: slice) -> InTime: ...

    def __getitem__(self, index: int | slice) -> Picture | InTime:
        if isinstance(index, slice):
            return InTime(self._pictures[index], self._deadline)
        picture = self._pictures[index]
        if time.monotonic() >= self._deadline:
            raise late()
        return picture
