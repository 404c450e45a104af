"""The byte budget: how many bytes of bodies or drawn pictures a worker holds; beyond it, `Overloaded`."""

from __future__ import annotations

import threading

from hotswap.errors import Overloaded


class ByteBudget:
    """The bytes of all bodies in a worker's memory, complete or still arriving.

    Thread-safe and reentrant: other threads decompress bodies, and the garbage collector may release
    bytes in the middle of any call.
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.held = 0
        self.peak = 0
        self._lock = threading.RLock()

    def add(self, size: int) -> None:
        """Count `size` more bytes. Raises `Overloaded` when the capacity is exceeded."""
        with self._lock:
            if self.held + size > self.capacity:
                raise Overloaded("the service holds too many pictures at once; retry shortly")
            self.held += size
            self.peak = max(self.peak, self.held)

    def remove(self, size: int) -> None:
        """Count `size` fewer bytes."""
        with self._lock:
            self.held -= size

    def take_peak(self) -> int:
        """The peak since the last call."""
        peak, self.peak = self.peak, self.held
        return peak
