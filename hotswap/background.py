"""Where slow work is done beside the serving threads."""

from __future__ import annotations

import logging
import os
import queue
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

logger = logging.getLogger("bentoml.okawari.hotswap")

Task = Callable[[], None]


class Background(Protocol):
    """Takes tasks and runs them one after the other. What a task raises is logged and ends only that task."""

    def submit(self, task: Task) -> None:
        """Run `task` some time soon."""
        ...


class LoaderThread:
    """One lasting thread of low priority.

    One thread, because every new one brings a heap arena of its own that keeps what a model leaves
    behind; low priority, so that requests keep their latency while a version loads beside them.
    """

    def __init__(self, niceness: int = 10) -> None:
        self._tasks: queue.SimpleQueue[Task | None] = queue.SimpleQueue()
        self._niceness = niceness
        self._thread = threading.Thread(target=self._serve, name="okawari-loader", daemon=True)
        self._thread.start()

    def submit(self, task: Task) -> None:
        """Run `task` after those that were submitted before."""
        self._tasks.put(task)

    def close(self, timeout: float) -> None:
        """Finish what was submitted and end; wait at most `timeout` seconds for it."""
        self._tasks.put(None)
        self._thread.join(timeout)

    def _serve(self) -> None:
        # Linux counts niceness by thread; elsewhere it would slow down the whole process.
        if os.uname().sysname == "Linux":
            with suppress(OSError):
                os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), self._niceness)
        while (task := self._tasks.get()) is not None:
            try:
                task()
            except Exception:
                logger.exception("a task of the loader's thread")
            del task
