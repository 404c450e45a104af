"""`import --watch`: a drop folder is watched until a signal ends it."""

from __future__ import annotations

import logging
import signal
import sys
import threading
import time
from pathlib import Path

from cli.errors import Refused
from models_import.drop_folder import DropFolder
from models_import.watcher import Watcher

logger = logging.getLogger("okawari.drop")


def watch(folder: Path, home: Path, level: str) -> None:
    """Import what is put into `folder` until SIGTERM or SIGINT, which undoes an import under way."""
    folder = folder.absolute()
    _check_apart(folder, home)
    try:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, _end)
        _log_to_stderr(level)
        _watch(folder, home)
    except SystemExit:
        logger.info("ended")


def _end(*_signal: object) -> None:
    raise SystemExit


def _watch(folder: Path, home: Path) -> None:
    changed = threading.Event()
    drop = DropFolder(folder, home)
    watcher = Watcher(lambda: drop.folders, changed.set, recursive=False)
    watcher.start()
    logger.info("watching %s for NAME/VERSION folders and archives; the store is %s/models", folder, home)
    try:
        while True:
            changed.wait(drop.turn())
            # Of many changes at once, as a copy makes them, the first is told.
            time.sleep(drop.pause)
            changed.clear()
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
