"""Turns of the writers of one SQLite file: it has one at a time, and those that wait poll ever slower.

Here threads wait for a lock, and processes look at a file lock twice a millisecond. Who does not take part,
such as another program, is still kept out by SQLite itself.
"""

from __future__ import annotations

import fcntl
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_LOOK = 0.0005


class WriterTurns:
    """The turns of one file. Reentrant in a thread; a turn ends with its process."""

    def __init__(self, file: Path | None) -> None:
        """Without a file, that of a database in memory, only threads take turns."""
        self._path = None if file is None else file.with_name(f".{file.name}.writers")
        self._lock = threading.RLock()
        self._depth = 0

    @contextmanager
    def turn(self, seconds: float) -> Iterator[None]:
        """Hold the right to write. Raises `TimeoutError` after so many seconds."""
        until = time.monotonic() + seconds
        if not self._lock.acquire(timeout=seconds):
            raise TimeoutError
        self._depth += 1
        handle = self._opened() if self._depth == 1 else None
        try:
            while handle is not None and not _taken(handle):
                if time.monotonic() > until:
                    raise TimeoutError
                time.sleep(_LOOK)
            yield
        finally:
            if handle is not None:
                os.close(handle)
            self._depth -= 1
            self._lock.release()

    def _opened(self) -> int | None:
        """The file of the lock; None where it cannot be made, and SQLite's own way has to do."""
        if self._path is None:
            return None
        with suppress(OSError):
            return os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        return None


def _taken(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


_ALL: dict[str, WriterTurns] = {}
_ALL_LOCK = threading.Lock()


def turns_of(file: str | None) -> WriterTurns:
    """The turns of a file, the same for all in this process; a database in memory has turns of its own."""
    if file is None or file in ("", ":memory:"):
        return WriterTurns(None)
    path = Path(file).absolute()
    with _ALL_LOCK:
        return _ALL.setdefault(str(path), WriterTurns(path))
