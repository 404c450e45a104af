"""The bell of a worker: the others ring it when they have changed something that it should look at now."""

from __future__ import annotations

import os
import select
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

_TICK = 1.0


class Bells:
    """A named pipe for each seat. A ring is a hint: the next periodic look makes up for a lost one.

    The pipes lie in `folder`; a ring for an empty seat is dropped.
    """

    def __init__(self, folder: Path, count: int, seat: int) -> None:
        self._folder = folder
        self._seat = seat
        self._others = [index for index in range(count) if index != seat]
        self._ending = threading.Event()
        self._thread: threading.Thread | None = None

    def listen(self, heard: Callable[[], None]) -> None:
        """Call `heard` in a thread of its own after each ring, until `stop`."""
        self._thread = threading.Thread(target=self._serve, args=(heard,), name="okawari-bell", daemon=True)
        self._thread.start()

    def ring(self) -> None:
        """Ring those of the others."""
        for index in self._others:
            with suppress(OSError):  # an empty seat, or it has been rung already
                handle = os.open(self._pipe(index), os.O_WRONLY | os.O_NONBLOCK)
                try:
                    os.write(handle, b"\0")
                finally:
                    os.close(handle)

    def stop(self) -> None:
        """End the thread."""
        self._ending.set()
        if self._thread is not None:
            self._thread.join(2 * _TICK)

    def _serve(self, heard: Callable[[], None]) -> None:
        try:
            handle = self._opened()
        except OSError:
            return
        rung = select.poll()  # `select` knows no descriptors from 1024 on
        rung.register(handle, select.POLLIN)
        try:
            while not self._ending.is_set():
                if rung.poll(_TICK * 1000):
                    os.read(handle, 4096)
                    heard()
        finally:
            os.close(handle)

    def _opened(self) -> int:
        path = self._pipe(self._seat)
        with suppress(FileExistsError):
            os.mkfifo(path, 0o600)
        # For writing, too: without any writer a pipe is at its end for ever.
        return os.open(path, os.O_RDWR | os.O_NONBLOCK)

    def _pipe(self, index: int) -> Path:
        return self._folder / f"bell-{index}"
