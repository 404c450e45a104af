"""The workers of one service: which live, and what each shares with the others, in shared memory.

A seat is taken by a lock that ends with its process, so that a killed worker's seat is free at once. Every
register has one writer, the process on that seat; the others only read. A worker whose
heartbeat stops is stopped or hangs.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import threading
import time
from contextlib import suppress
from pathlib import Path

#: Seconds between two beats, and after how long without one a worker counts as stopped.
BEAT = 0.1
STOPPED = 1.5

_WORD = 8


class NoWorkerSlot(RuntimeError):
    """Every seat is taken: more processes than the service has workers."""


def registers(path: Path, words: int) -> memoryview:
    """Map a file of 64-bit words, made of zeros if absent. Raises OSError when there is no room for it.

    The bytes are written before they are mapped: a hole in a file on a full disk would kill the process that
    touches it.
    """
    if not path.exists():
        temporary = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}")
        temporary.write_bytes(bytes(words * _WORD))
        with suppress(FileExistsError):
            os.link(temporary, path)  # whole or not at all, and the first wins: there is no lock to wait for
        temporary.unlink()
    handle = os.open(path, os.O_RDWR)
    try:
        return memoryview(mmap.mmap(handle, words * _WORD)).cast("Q")
    finally:
        os.close(handle)


class WorkerTable:
    """The seats of one service, `count` of them: one for each worker, and spare ones while they change."""

    def __init__(self, folder: Path, count: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.count = count
        self._folder = folder
        self._beats = registers(folder / "beats", count)
        self._connections = registers(folder / "connections", count)

    def take(self) -> WorkerSlot:
        """Sit down on the first free seat until this process ends; raise `NoWorkerSlot`."""
        for index in range(self.count):
            handle = os.open(self._lock(index), os.O_RDWR | os.O_CREAT, 0o644)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(handle)
            else:
                return WorkerSlot(index, handle, self._beats, self._connections)
        raise NoWorkerSlot(f"all {self.count} seats are taken")

    def living(self) -> tuple[int, ...]:
        """The seats whose processes live and are not stopped."""
        return tuple(index for index in self.beating() if self.is_held(index))

    def beating(self) -> tuple[int, ...]:
        """The seats with a fresh heartbeat; a process killed a moment ago may be among them."""
        oldest = time.monotonic_ns() - int(STOPPED * 1e9)
        return tuple(index for index in range(self.count) if self._beats[index] > oldest)

    def connections(self) -> dict[int, int]:
        """Open connections by seat, of those with a fresh heartbeat."""
        return {index: self._connections[index] for index in self.beating()}

    def is_held(self, index: int) -> bool:
        """Whether a process is on this seat."""
        try:
            handle = os.open(self._lock(index), os.O_RDONLY)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(handle)
        return False

    def _lock(self, index: int) -> Path:
        return self._folder / f"seat-{index}"


class WorkerSlot:
    """This process's seat until it ends. `start` begins its heartbeat, `rest` ends it."""

    def __init__(self, index: int, lock: int, beats: memoryview, connections: memoryview) -> None:
        self.index = index
        self._lock = lock  # never closed: it ends with the process
        self._beats = beats
        self._connections = connections
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._serve, name="okawari-heart", daemon=True)
        self.beat()
        self.tell_connections(0)

    def beat(self) -> None:
        """Say that this process lives."""
        self._beats[self.index] = time.monotonic_ns()

    def tell_connections(self, number: int) -> None:
        """Say how many connections this process has open."""
        self._connections[self.index] = number

    def start(self) -> None:
        """Beat from now on, in a thread of its own."""
        self._thread.start()

    def rest(self) -> None:
        """Stop beating: the others no longer wait for this process. It stays on its seat."""
        self._ending.set()
        if self._thread.ident is not None:
            self._thread.join(1.0)
        self._beats[self.index] = 0

    def _serve(self) -> None:
        while not self._ending.wait(BEAT):
            self.beat()
