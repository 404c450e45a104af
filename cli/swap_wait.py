"""Wait for the workers to carry out a change, as they report it in the run folder."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from cli.errors import Refused
from workers.run_folder import RunFolder, WorkerState

_EVERY = 0.05


class SwapFailed(RuntimeError):
    """A worker failed to load the version; the message is the worker's reason."""


class SwapWatch:
    """Asks every worker to rescan the store and waits for the result."""

    def __init__(
        self,
        run: RunFolder,
        timeout: float,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._run = run
        self._timeout = timeout
        self._clock = clock
        self._sleep = sleep

    def until_serving(self, name: str, version: str, check: Callable[[], None] = lambda: None) -> bool:
        """Wait until every worker serves `version`; False if the service ended meanwhile.

        Raises `SwapFailed`, any error of `check`, or `Refused` at the timeout (the change stays in effect).
        """
        # The reload clears the retry delay of earlier failures: a failure seen after it is of this attempt.
        asked = self._run.ask_reload()

        def holds(workers: list[WorkerState]) -> bool:
            looked = [worker for worker in workers if worker.reload_seen >= asked]
            for worker in looked:
                _raise_failure(worker, name, version)
            if len(looked) == len(workers) and all(_serves(worker, name, version) for worker in looked):
                return True
            check()
            return False

        return self._until(
            holds,
            lambda: (
                f"{name}:{version} is not serving yet{self._why(name, version)}; the change stays in effect"
            ),
        )

    def until_answering(self, name: str, version: str) -> bool:
        """Wait until `version` answers in every worker, alone or beside another; as `until_serving` does."""
        asked = self._run.ask_reload()

        def holds(workers: list[WorkerState]) -> bool:
            looked = [worker for worker in workers if worker.reload_seen >= asked]
            for worker in looked:
                _raise_failure(worker, name, version)
            return len(looked) == len(workers) and all(_answers(worker, name, version) for worker in looked)

        return self._until(holds, lambda: f"{name}:{version} does not answer yet; the change stays in effect")

    def until_looked(self) -> bool:
        """Wait until every worker has rescanned the store; False if the service stopped meanwhile."""
        asked = self._run.ask_reload()
        return self._until(
            lambda workers: all(worker.reload_seen >= asked for worker in workers),
            lambda: "some workers have not rescanned the store yet",
        )

    def _until(self, holds: Callable[[list[WorkerState]], bool], late: Callable[[], str]) -> bool:
        deadline = self._clock() + self._timeout
        with spinner():
            while self._run.is_up():
                workers = self._run.worker_states()
                if workers and holds(workers):
                    return True
                if self._clock() >= deadline:
                    raise Refused(f"after {self._timeout:g} s {late()}; see `okawari status`")
                self._sleep(_EVERY)
        return False

    def _why(self, name: str, version: str) -> str:
        for worker in self._run.worker_states():
            model = worker.models.get(name)
            for generation in model.generations if model else ():
                if generation.version == version:
                    reason = f" ({generation.reason})" if generation.reason else ""
                    return f": it is {generation.state}{reason}"
        return ""


def _serves(worker: WorkerState, name: str, version: str) -> bool:
    model = worker.models.get(name)
    return model is not None and model.serving == version


def _answers(worker: WorkerState, name: str, version: str) -> bool:
    model = worker.models.get(name)
    states = {each.version: each.state for each in model.generations} if model else {}
    return states.get(version) == "serving"


def _raise_failure(worker: WorkerState, name: str, version: str) -> None:
    model = worker.models.get(name)
    for generation in model.generations if model else ():
        if generation.version == version and generation.state == "failed":
            raise SwapFailed(generation.reason or "no reason was given")


@contextmanager
def spinner() -> Iterator[None]:
    """Show that something is awaited, on a terminal alone."""
    if not sys.stderr.isatty():
        yield
        return
    from rich.console import Console

    with Console(stderr=True).status("waiting for the service"):
        yield
