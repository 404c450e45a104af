"""`import --watch`: watch a drop folder until stopped by a signal."""

from __future__ import annotations

import logging
import signal
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from cli.errors import Refused
from cli.traced import import_span
from models_import.drop_folder import DropFolder
from models_import.importer import Imported, Importer
from models_import.watcher import Watcher

logger = logging.getLogger("okawari.drop")


def watch(folder: Path, home: Path, level: str, imported: Callable[[Imported], None]) -> None:
    """Import the versions added to `folder` until SIGTERM or SIGINT, which undoes a running import.

    `imported` is called with each version that has come in.
    """
    folder = folder.absolute()
    _check_apart(folder, home)
    try:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, _end)
        _log_to_stderr(level)
        _watch(folder, home, imported)
    except SystemExit:
        logger.info("ended")


def _end(*_signal: object) -> None:
    raise SystemExit


def _watch(folder: Path, home: Path, imported: Callable[[Imported], None]) -> None:
    changed = threading.Event()
    drop = DropFolder(folder, home, make=partial(Importer, imported=imported, traced=import_span))
    watcher = Watcher(lambda: drop.folders, changed.set, recursive=False)
    watcher.start()
    logger.info("watching %s for NAME/VERSION folders and archives; the store is %s/models", folder, home)
    try:
        while True:
            changed.wait(drop.turn())
            # A copy makes many changes at once; the pause handles them together.
            time.sleep(drop.pause)
            changed.clear()
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
