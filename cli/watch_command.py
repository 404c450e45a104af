"""`import --watch`: watch a drop folder until stopped by a signal."""

from __future__ import annotations

import logging
import queue
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path

from cli.errors import Refused
from models_import.drop_folder import DropFolder, Ended, WatchEnd
from models_import.watcher import Watcher

logger = logging.getLogger("okawari.drop")


class Wakes:
    """Wakes the watch loop. Keeps at most one wake; safe from a signal handler that raises."""

    def __init__(self) -> None:
        self._queue: queue.SimpleQueue[None] = queue.SimpleQueue()

    def wake(self) -> None:
        """Report a change."""
        if self._queue.empty():
            self._queue.put(None)

    def wait(self, seconds: float) -> None:
        """Wait for a change, for at most `seconds`."""
        with suppress(queue.Empty):
            self._queue.get(timeout=max(0.0, seconds))
        with suppress(queue.Empty):
            while True:
                self._queue.get_nowait()


def watch(folder: Path, home: Path, level: str) -> None:
    """Import the versions added to `folder` until SIGTERM or SIGINT; a begun import is undone or finished."""
    folder = folder.absolute()
    _check_apart(folder, home)
    ending = WatchEnd()
    try:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, ending.ask)
        _log_to_stderr(level)
        _watch(folder, home, ending)
    except Ended:
        logger.info("ended")


def _watch(folder: Path, home: Path, ending: WatchEnd) -> None:
    wakes = Wakes()
    drop = DropFolder(folder, home, ending)
    watcher = Watcher(lambda: drop.folders, wakes.wake, recursive=False)
    watcher.start()
    logger.info("watching %s for NAME/VERSION folders and archives; the store is %s/models", folder, home)
    try:
        while True:
            wakes.wait(drop.turn())
            # A copy makes many changes at once; the pause handles them together.
            time.sleep(drop.pause)
    finally:
        watcher.stop()


def _check_apart(folder: Path, home: Path) -> None:
    """Refuse a store as drop folder: notes would be written into it, and it would import into itself."""
    real = folder.resolve()
    for part in (home / "models", home / "staging"):
        store = part.resolve()
        if real == store or real in store.parents or store in real.parents:
            raise Refused(
                f"the watched folder {folder} and the store {store} must not contain each other: "
                "watch another folder"
            )


def _log_to_stderr(level: str) -> None:
    """Log one line per event to stderr, with its time in UTC, as container logs expect."""
    handler = logging.StreamHandler(sys.stderr)
    form = logging.Formatter("%(asctime)sZ %(levelname)s %(message)s", "%Y-%m-%dT%H:%M:%S")
    form.converter = time.gmtime
    handler.setFormatter(form)
    logger.handlers[:] = [handler]
    logger.propagate = False
    logger.setLevel(level)
