"""The thread that delivers, commits, cleans and samples: each task every second, unless it says otherwise."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping

from hotswap.errors import StateUnavailable

logger = logging.getLogger("bentoml.okawari.lineage")


class Chores:
    """Runs tasks in turn, in a thread of its own.

    A task that cannot be done because something is away is tried again; that is logged once, and again when
    it can be done.
    """

    def __init__(self, tasks: Mapping[str, Callable[[], object]], interval: float = 1.0) -> None:
        """`interval` is in seconds; tasks are quick where there is nothing to do."""
        self._tasks = tasks
        self._interval = interval
        self._problems: dict[str, str] = {}
        self._wake = threading.Event()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="okawari-chores", daemon=True)

    @property
    def problems(self) -> Mapping[str, str]:
        """Tasks that cannot be done now, and why."""
        return dict(self._problems)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def wake(self) -> None:
        """Run the tasks soon."""
        self._wake.set()

    def stop(self, seconds: float) -> None:
        """End after the task that runs, or leave it to the end of the process after so many seconds."""
        self._stopping = True
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(seconds)

    def step(self) -> None:
        """Run each task once."""
        for name, task in self._tasks.items():
            if self._stopping:
                return
            try:
                task()
            except StateUnavailable as error:
                self._note(name, error.message)
            except Exception as error:
                if name not in self._problems:
                    logger.exception("%s failed; it is tried again", name)
                self._problems[name] = f"{type(error).__name__}; see the log"
            else:
                self._note(name, None)

    def _run(self) -> None:
        while not self._stopping:
            self.step()
            self._wake.wait(self._interval)
            self._wake.clear()

    def _note(self, name: str, problem: str | None) -> None:
        before = self._problems.pop(name, None)
        if problem is not None:
            self._problems[name] = problem
        if problem is not None and before is None:
            logger.warning("%s waits: %s", name, problem)
        elif problem is None and before is not None:
            logger.info("%s goes on", name)
