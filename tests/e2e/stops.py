"""Workers of the real service, stopped or killed where the test says."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.e2e.waiting import until

#: Every place between two steps of a swap, in their order; see `stopping_service`.
STEPS = tuple(
    f"{when}-{step}"
    for step in ("load", "warm", "check", "propose", "decide", "reach", "switch", "remember")
    for when in ("before", "after")
)

#: Every place between two steps of an activation through a service with one worker, in their order.
PROMOTION = tuple(
    f"{when}-{step}"
    for step in ("record", "target", "load", "switch", "remember", "who-served", "audit")
    for when in ("before", "after")
)

#: Those between having prepared and having decided.
BETWEEN = ("after-propose", "before-decide")


class Stops:
    """Arms stops in a folder that the service's workers watch."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.folder = folder

    @contextmanager
    def stopped(self, step: str) -> Iterator[None]:
        """The next worker at `step` is stopped; it goes on when the test leaves.

        Enter before the swap begins; `reached` waits for it.
        """
        (self.folder / f"{step}.SIGSTOP").touch()
        try:
            yield
        finally:
            os.kill(self.reached(step), signal.SIGCONT)
            self._clear(step)

    def kill(self, step: str) -> None:
        """The next worker at `step` is killed."""
        (self.folder / f"{step}.SIGKILL").touch()

    def reached(self, step: str) -> int:
        """Wait until a worker was stopped or killed at `step`; its pid."""
        return until(lambda: self._pid(step), f"a worker comes to {step}")

    def killed(self, step: str) -> int:
        """Wait until a worker was killed at `step`; its pid."""
        pid = self.reached(step)
        self._clear(step)
        return pid

    def _pid(self, step: str) -> int | None:
        words = [path.suffix[1:] for path in self.folder.glob(f"{step}.*")]
        return next((int(word) for word in words if word.isdecimal()), None)

    def _clear(self, step: str) -> None:
        for path in self.folder.glob(f"{step}.*"):
            path.unlink()
