"""How many requests each caller has made, for all workers of a service: a mapped table of fixed size.

A minute, or a day, begins with the first request after the one before has ended. What was counted outlives a
restart of the service. A row is in one of eight places that the hash of its name determines; where all are
taken, the name that asked longest ago gives its place, and its count.
"""

from __future__ import annotations

import fcntl
import hashlib
import mmap
import os
import struct
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from common.quotas import DAY, MINUTE, Quota
from hotswap.errors import Overloaded

#: Hash of a name; begin and count of its minute, and of its day; its last request.
_ROW = struct.Struct("<16sdQdQd")
_WAYS, _SETS = 8, 2048
#: Names that are counted at once.
MOST_NAMES = _WAYS * _SETS
_SIZE = MOST_NAMES * _ROW.size
#: Seconds for which a request waits for the table, and between two tries; an edit takes microseconds.
_PATIENCE, _PAUSE = 0.2, 0.0002


@dataclass(frozen=True, slots=True)
class Excess:
    """A quota that is used up: whose, and for how many seconds."""

    name: str
    quota: Quota
    seconds: float


@dataclass(slots=True)
class _Window:
    begun: float
    count: int

    def at(self, now: float, seconds: float) -> _Window:
        """The window that a moment lies in; a clock that was set back begins no new one."""
        if now < self.begun:
            return _Window(now, self.count)
        return self if now < self.begun + seconds else _Window(now, 0)


class RequestCounts:
    """One worker's way to the table. May be used by several threads at once."""

    def __init__(self, path: Path, clock: Callable[[], float] = time.time) -> None:
        """`path` is made if it is absent, or was written by another release. Raises OSError."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self._clock = clock
        self._threads = threading.Lock()
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        with self._locked():
            if os.fstat(self._file).st_size != _SIZE:
                os.ftruncate(self._file, 0)
                # Written, not a hole: on a full disk a hole would kill the process that touches it.
                os.pwrite(self._file, bytes(_SIZE), 0)
        self._rows = mmap.mmap(self._file, _SIZE)

    def take(self, asked: Sequence[tuple[str, Quota]]) -> Excess | None:
        """Count one request for each of the names, unless one of them has used up its quota.

        Then nothing is counted. Raises `Overloaded` where another worker keeps the table.
        """
        with self._locked():
            now = self._clock()
            places: list[int] = []
            rows = []
            for name, quota in asked:
                key = hashlib.blake2b(name.encode(errors="replace"), digest_size=16).digest()
                places.append(self._place(key, places))
                minute, day = self._windows(places[-1], key, now)
                if (seconds := _wait(quota, minute, day, now)) is not None:
                    return Excess(name, quota, seconds)
                rows.append((key, minute.begun, minute.count + 1, day.begun, day.count + 1, now))
            for place, row in zip(places, rows, strict=True):
                _ROW.pack_into(self._rows, place, *row)
        return None

    def close(self) -> None:
        """Give the file back."""
        self._rows.close()
        os.close(self._file)

    def _place(self, key: bytes, taken: Sequence[int]) -> int:
        """The row of a name, or the one that it gets."""
        first = int.from_bytes(key[:4]) % _SETS * _WAYS
        places = [(first + way) * _ROW.size for way in range(_WAYS)]
        for place in places:
            if self._rows[place : place + 16] == key:
                return place
        return min((each for each in places if each not in taken), key=self._last_use)

    def _last_use(self, place: int) -> float:
        last: float = _ROW.unpack_from(self._rows, place)[5]
        return last

    def _windows(self, place: int, key: bytes, now: float) -> tuple[_Window, _Window]:
        found, minute, in_minute, day, in_day, _ = _ROW.unpack_from(self._rows, place)
        if found != key:
            return _Window(now, 0), _Window(now, 0)
        return _Window(minute, in_minute).at(now, MINUTE), _Window(day, in_day).at(now, DAY)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Hold the table. A stopped process must not stop the event loops of all others for long."""
        with self._threads:
            until = time.monotonic() + _PATIENCE
            while not _is_taken(self._file):
                if time.monotonic() > until:
                    raise Overloaded("the counts of requests are in use by another worker; retry shortly")
                time.sleep(_PAUSE)
            try:
                yield
            finally:
                fcntl.flock(self._file, fcntl.LOCK_UN)


def _wait(quota: Quota, minute: _Window, day: _Window, now: float) -> float | None:
    """Seconds until the next request is allowed; None: it is allowed now."""
    waits = [
        window.begun + seconds - now
        for window, seconds, most in ((minute, MINUTE, quota.per_minute), (day, DAY, quota.per_day))
        if most is not None and window.count >= most
    ]
    return max(waits, default=None)


def _is_taken(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
