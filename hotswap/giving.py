"""An answer while it is given: it counts as one when its wire could tell it."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Generic, TypeVar

A = TypeVar("A")
B = TypeVar("B")


class Giving(Generic[A]):
    """`with` it: the answer is told of when the block ends, unless that raises an `Exception`.

    Such a request was refused after all, and whoever raises or catches a `ServingError` counts it as that. A
    caller who leaves meanwhile (`CancelledError`) was answered.
    """

    __slots__ = ("_answer", "_tell")

    def __init__(self, answer: A, tell: Callable[[], None]) -> None:
        self._answer = answer
        self._tell = tell

    def made(self, make: Callable[[A], B]) -> Giving[B]:
        """What `make` makes of the answer, given in its stead; nothing is told when `make` raises."""
        return Giving(make(self._answer), self._tell)

    def __enter__(self) -> A:
        return self._answer

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not isinstance(error, Exception):
            self._tell()
