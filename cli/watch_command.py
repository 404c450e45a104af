"""`import --watch`: a drop folder is watched until a signal ends it."""

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
    """At most one wake is kept, and taking it is safe from a signal's handler that raises."""

    def __init__(self) -> None:
        self._queue: queue.SimpleQueue[None] = queue.SimpleQueue()

    def wake(self) -> None:
        """Something has changed."""
        if self._queue.empty():
            self._queue.put(None)

    def wait(self, seconds: float) -> None:
        """Until something has changed, or so long."""
        with suppress(queue.Empty):
            self._queue.get(timeout=max(0.0, seconds))
        with suppress(queue.Empty):
            while True:
                self._queue.get_nowait()


def watch(folder: Path, home: Path, level: str) -> None:
    """Import what is put into `folder` until SIGTERM or SIGINT; what has begun is undone or finished."""
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
            # Of many changes at once, as a copy makes them, the first is told.
            time.sleep(drop.pause)
    finally:
        watcher.stop()


def _check_apart(folder: Path, home: Path) -> None:
    """A store is no drop folder: notes would be written into it, and it would be imported into itself."""
    real = folder.resolve()
    for ours in (home / "models", home / "staging"):
        there = ours.resolve()
        if real == there or real in there.parents or there in real.parents:
            raise Refused(f"{folder} and the store {there} lie in each other: watch another folder")


def _log_to_stderr(level: str) -> None:
    """One line an event, with its time in UTC, as container logs want it."""
    handler = logging.StreamHandler(sys.stderr)
    form = logging.Formatter("%(asctime)sZ %(levelname)s %(message)s", "%Y-%m-%dT%H:%M:%S")
    form.converter = time.gmtime
    handler.setFormatter(form)
    logger.handlers[:] = [handler]
    logger.propagate = False
    logger.setLevel(level)
