"""The master: what it was told to serve where, and what it does otherwise than BentoML would."""

from __future__ import annotations

import logging
import os
import signal
import sys
import time
from itertools import pairwise
from pathlib import Path

from registry.run_folder import RunFolder
from serving import replacing

logger = logging.getLogger("bentoml.okawari.service")


def host() -> str:
    """Where HTTP will listen, as the command line tells the master; BentoML has not opened it yet."""
    return _given("--host") or os.environ.get("BENTOML_HOST", "0.0.0.0")  # noqa: S104 - BentoML's default


def port() -> int:
    """Its port; 0 where any will do, or where none is told."""
    told = _given("--port", "-p") or os.environ.get("BENTOML_PORT", "")
    return int(told) if told.isdecimal() else 0


def https_files() -> tuple[Path, Path] | None:
    """Certificate and key that HTTP is told to use, as workers find them; None for plain text, or for a key
    with a password.
    """
    chain = _given("--ssl-certfile")
    if not chain or _given("--ssl-keyfile-password"):
        return None
    folder = _folder()
    return folder / chain, folder / (_given("--ssl-keyfile") or chain)


def _folder() -> Path:
    """Where workers run, from which they find their files: as told, or the Bento's, or this one."""
    served = next((word for word in sys.argv[2:3] if Path(word).expanduser().is_dir()), "")
    return Path(_given("--working-dir") or served).expanduser()


def _given(*names: str) -> str:
    """What follows an option of the command line, empty where it is not there."""
    words = [word for each in sys.argv for word in each.split("=", 1)]
    return next((told for name, told in pairwise(words) if name in names), "")


def take_over_hangup(run: RunFolder) -> None:
    """SIGHUP means look again now. BentoML's own reaction replaces all workers and loses requests."""
    from circus.sighandler import SysHandler

    def look_again(*_: object) -> None:
        try:
            run.ask_reload()
        except OSError as error:
            # What escapes from here would end the master, and with it the service.
            logger.error("cannot pass the hangup on: %s; POST /api/v1/reload does the same", error)

    SysHandler.handle_hup = look_again
    # Until the process manager has set its own handlers, the default would end the process.
    signal.signal(signal.SIGHUP, look_again)


def replace_lost_workers(run: RunFolder) -> None:
    """BentoML replaces none in a container; where that cannot be changed the service goes on as it does."""
    try:
        replacing.take_over(run.came_up, time.monotonic)
    except (ImportError, AttributeError) as error:
        logger.warning("lost workers are replaced only as the process manager does it: %s", error)
