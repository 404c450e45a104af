"""Admission: places for requests that run or wait; who finds none is refused with `Overloaded`."""

from __future__ import annotations

import threading

from hotswap.errors import Overloaded


class Permit:
    """The right of one request to a place, until its work has really ended."""

    __slots__ = ("_admission",)

    def __init__(self, admission: Admission) -> None:
        self._admission: Admission | None = admission

    def release(self) -> None:
        """Give the place back; further calls do nothing."""
        admission, self._admission = self._admission, None
        if admission is not None:
            admission._leave()


class Admission:
    """Counts places. Who holds a permit is running or queued; no more than `capacity` are let in."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self._inside = 0
        self._lock = threading.Lock()

    @property
    def inside(self) -> int:
        """How many permits are out."""
        return self._inside

    @property
    def full(self) -> bool:
        """Whether `enter` would refuse now."""
        return self._inside >= self.capacity

    def enter(self) -> Permit:
        """Take a place or raise `Overloaded` at once; requests do not wait here."""
        with self._lock:
            if self._inside >= self.capacity:
                raise Overloaded(f"all {self.capacity} places are taken; try again shortly")
            self._inside += 1
        return Permit(self)

    def enter_again(self) -> Permit:
        """Take a place for a request that had one until now; it is never refused half-way."""
        with self._lock:
            self._inside += 1
        return Permit(self)

    def _leave(self) -> None:
        with self._lock:
            self._inside -= 1
