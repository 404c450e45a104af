"""The supervision of workers by the master: a lost one is replaced, and a hopeless service ends.

BentoML replaces none in a container, and elsewhere looks every ten seconds.
"""

from __future__ import annotations

import logging
import math
import os
import signal
import sys
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

from workers import fork
from workers.run_folder import RunFolder

logger = logging.getLogger("bentoml.okawari.replacing")

#: Starts in vain, one after the other, that end the service when no worker lives.
IN_VAIN = 3
#: Seconds between starts after that, where one lives: they must not keep the machine busy.
PAUSE = 10.0

_BUSY_PAUSE = 0.2


class Replacements:
    """Whether lost workers may be replaced now."""

    def __init__(self) -> None:
        self._last = -math.inf
        self._came_up: int | None = None
        self._vain = 0

    def lost(self, came_up: int) -> None:
        """Workers have ended. `came_up` is another number whenever one has come up since."""
        if came_up != self._came_up:
            self._came_up, self._vain = came_up, 0
        self._vain += 1

    def hopeless(self, living: int) -> bool:
        """Whether no worker lives and none comes up any more."""
        return living == 0 and self._vain >= IN_VAIN

    def begin(self, now: float) -> bool:
        """Whether those that are missing are started now; if so, the next start may have to wait."""
        if self._vain > IN_VAIN and now - self._last < PAUSE:
            return False
        self._last = now
        return True


def take_over(came_up: Callable[[], int], clock: Callable[[], float]) -> None:
    """Replace lost workers from now on; called before the process manager is made.

    Raises ImportError or AttributeError where the process manager has other parts than are known.
    """
    # BentoML asks once whether this stands here; it means "replace none".
    os.environ.pop("BENTOML_CONTAINERIZED", None)
    from circus.sighandler import SysHandler
    from circus.watcher import Watcher

    Watcher.spawn_processes = _spawning(Watcher.spawn_processes, Replacements(), came_up, clock)
    SysHandler.SIGNALS = [*SysHandler.SIGNALS, signal.SIGCHLD]
    # The handler is looked up by one of the signal's two names.
    SysHandler.handle_chld = SysHandler.handle_cld = _look_now


def _spawning(
    first: Any, replacements: Replacements, came_up: Callable[[], int], clock: Callable[[], float]
) -> Any:
    """The watcher's own way to start what is missing, within what `replacements` allows."""
    known: set[int] = set()
    begun = False

    async def spawn_processes(watcher: Any) -> None:
        nonlocal begun
        if not begun:
            begun = True
            await first(watcher)
        else:
            await _replace(watcher, known - set(watcher.processes))
        known.clear()
        known.update(watcher.processes)

    async def _replace(watcher: Any, lost: set[int]) -> None:
        if lost:
            logger.warning("lost: %s", ", ".join(f"worker {pid}" for pid in sorted(lost)))
            replacements.lost(came_up())
        if replacements.hopeless(len(watcher.processes)):
            logger.error("no worker lives, and the last %d starts were in vain: the service ends", IN_VAIN)
            await watcher._stop()
            return
        if replacements.begin(clock()):
            for _ in range(watcher.numprocesses - len(watcher.processes)):
                watcher.spawn_process()

    return spawn_processes


def _look_now(handler: Any) -> None:
    """A child has ended: look at once, not at the next round."""
    loop = handler.controller.loop
    loop.add_callback_from_signal(_look, handler.controller.arbiter, loop)


async def _look(arbiter: Any, loop: Any) -> None:
    from circus.exc import ConflictError

    try:
        await arbiter.manage_watchers()
    except ConflictError:  # it starts, or ends, or looks already
        loop.call_later(_BUSY_PAUSE, _look, arbiter, loop)


logger = logging.getLogger("bentoml.okawari.service")


#: BentoML's default.
EVERYWHERE = "0.0.0.0"  # noqa: S104


def host(default: str = EVERYWHERE) -> str:
    """Where HTTP will listen, as the master's command line says; BentoML has not opened it yet."""
    return _given("--host") or os.environ.get("BENTOML_HOST", default)


def port(default: int = 0) -> int:
    """Its port; 0 where any will do, or where none is given."""
    number = _given("--port", "-p") or os.environ.get("BENTOML_PORT", "")
    return int(number) if number.isdecimal() else default


def https_files() -> tuple[Path, Path] | None:
    """Certificate and key that HTTP is to use, as workers find them; None for plain text, or for a key
    with a password.
    """
    chain = _given("--ssl-certfile")
    if not chain or _given("--ssl-keyfile-password"):
        return None
    folder = _folder()
    return folder / chain, folder / (_given("--ssl-keyfile") or chain)


def _folder() -> Path:
    """Where workers run, from which they find their files: as given, or the Bento's, or this one."""
    served = next((word for word in sys.argv[2:3] if Path(word).expanduser().is_dir()), "")
    return Path(_given("--working-dir") or served).expanduser()


def _given(*names: str) -> str:
    """What follows an option of the command line, empty where it is not there."""
    words = [word for each in sys.argv for word in each.split("=", 1)]
    return next((value for name, value in pairwise(words) if name in names), "")


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
        take_over(run.came_up, time.monotonic)
    except (ImportError, AttributeError) as error:
        logger.warning("lost workers are replaced only as the process manager does it: %s", error)


def fork_workers() -> None:
    """Fork workers; where that is not possible each is a new Python, which starts later and needs more."""
    try:
        fork.take_over()
        fork.import_for_workers()
    except (ImportError, AttributeError) as error:
        logger.warning("workers are not forked, and start more slowly: %s", error)
