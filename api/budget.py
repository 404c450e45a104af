from __future__ import annotations

import threading

from hotswap.errors import Overloaded


class ByteBudget:
    """Bytes of all bodies that a worker holds at once, whether they are complete or still arriving.

    Threads that expand bodies count here, too, and so does whatever is given back when it is collected as
    garbage: that may happen in the middle of any call, by the thread that makes it.
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.held = 0
        self.peak = 0
        self._lock = threading.RLock()

    def add(self, size: int) -> None:
        """Hold `size` bytes more; raise `Overloaded` when that would be too many."""
        with self._lock:
            if self.held + size > self.capacity:
                raise Overloaded("the service holds too many pictures at once; try again shortly")
            self.held += size
            self.peak = max(self.peak, self.held)

    def remove(self, size: int) -> None:
        """Hold `size` bytes less."""
        with self._lock:
            self.held -= size

    def take_peak(self) -> int:
        """The most bytes held since this was last asked."""
        peak, self.peak = self.peak, self.held
        return peak
