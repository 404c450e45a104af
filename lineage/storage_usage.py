"""What a picture store holds: measured seldom, and counted on between."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from lineage.errors import PicturesUnavailable
from lineage.picture_store import PictureStore

#: Seconds for which a measurement is counted on; other services' pictures are seen at the next one.
_FRESH = 3600.0


@dataclass(frozen=True, slots=True)
class Usage:
    """Bytes and number of objects."""

    used_bytes: int
    objects: int

    def __add__(self, other: Usage) -> Usage:
        return Usage(self.used_bytes + other.used_bytes, self.objects + other.objects)


class StorageUsage:
    """How much a store holds. May be used by several threads.

    A picture that was put twice counts twice until the next measurement.
    """

    def __init__(self, pictures: PictureStore, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` counts seconds."""
        self._pictures = pictures
        self._clock = clock
        self._measuring = threading.Lock()
        self._lock = threading.Lock()
        self._measured: Usage | None = None
        self._since = Usage(0, 0)
        self._until = 0.0

    def added(self, size: int) -> None:
        """Count an object of so many bytes that was put."""
        self._count(Usage(size, 1))

    def removed(self, size: int) -> None:
        """Count an object of so many bytes that was deleted."""
        self._count(Usage(-size, -1))

    def current(self) -> Usage:
        """What the store holds, by the last measurement and what was counted since.

        Measures when the last is old: that lists all objects. While the store is away the last one holds;
        raises `PicturesUnavailable` where there is none.
        """
        measured = self._measured
        if measured is None:
            with self._measuring:
                measured = self._measured or self._measure()
        elif self._clock() >= self._until and self._measuring.acquire(blocking=False):
            # One thread measures; the others go on with what is known.
            try:
                measured = self._measure()
            except PicturesUnavailable:
                self._until = self._clock() + _FRESH / 60
            finally:
                self._measuring.release()
        with self._lock:
            return (self._measured or measured) + self._since

    def _count(self, change: Usage) -> None:
        with self._lock:
            self._since += change

    def _measure(self) -> Usage:
        with self._lock:
            before = self._since
        used, objects = 0, 0
        for one in self._pictures.objects():
            used, objects = used + one.size, objects + 1
        with self._lock:
            # What came meanwhile may have been listed, too: rather too much than too little.
            self._since = self._since + Usage(-before.used_bytes, -before.objects)
            self._measured = Usage(used, objects)
            self._until = self._clock() + _FRESH
            return self._measured
