"""What happens to the service while it answers: versions come and go, workers die, dependencies restart."""

from __future__ import annotations

import asyncio
import os
import random
import shlex
import signal
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from subprocess import CalledProcessError

import httpx

from soak.models import EXCHANGED, Versions
from soak.service import SoakedService

#: Seconds after a kill in which connections may break.
_LOSS_SECONDS = 5.0
#: Versions of each model that stay in the store.
_KEPT = 4
_SWITCH_SECONDS = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class DisturbanceSchedule:
    """Seconds between disturbances of each kind; 0: never. `command` restarts what the service depends on."""

    imports: float = 20.0
    switches: float = 4.0
    kills: float = 300.0
    restarts: float = 600.0
    command: str | None = None


@dataclass(slots=True)
class Disturbances:
    """Disturbs a service until it is cancelled, and counts."""

    service: SoakedService
    versions: Versions
    schedule: DisturbanceSchedule
    began: float
    #: The versions of each model that is exchanged, the oldest first.
    present: dict[str, list[str]]
    swaps: int = 0
    kills: int = 0
    restarts: int = 0
    #: Moments after `began` in seconds, and what was done: for the plot.
    marks: list[tuple[float, str]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    _killed_at: float = -_LOSS_SECONDS
    _number: int = 0

    def expects_loss(self) -> bool:
        """Whether a worker was killed a moment ago, so that connections may break."""
        return time.monotonic() - self._killed_at < _LOSS_SECONDS

    async def run(self) -> None:
        """Disturb, each kind at its own pace."""
        kinds: list[tuple[str, float, Callable[[], Awaitable[None]]]] = [
            ("import", self.schedule.imports, self._import),
            ("switch", self.schedule.switches, self._switch),
            ("kill", self.schedule.kills, self._kill),
        ]
        if self.schedule.command:
            kinds.append(("restart", self.schedule.restarts, partial(self._restart, self.schedule.command)))
        async with asyncio.TaskGroup() as tasks:
            for kind, seconds, disturb in kinds:
                if seconds > 0:
                    tasks.create_task(self._repeat(kind, seconds, disturb))

    async def _repeat(self, kind: str, seconds: float, disturb: Callable[[], Awaitable[None]]) -> None:
        while True:
            await asyncio.sleep(seconds)
            try:
                await disturb()
            except Exception as error:  # noqa: BLE001 - reported at the end, and the run goes on
                said = error.stderr.decode(errors="replace") if isinstance(error, CalledProcessError) else ""
                self.problems.append(f"{kind}: {said.strip() or repr(error)}"[:500])

    async def _import(self) -> None:
        """A new version; the oldest leaves the store."""
        self._number += 1
        model, version = EXCHANGED[self._number % len(EXCHANGED)], f"v0.{self._number}"
        await asyncio.to_thread(self.versions.add, model, version)
        present = self.present[model]
        present.append(version)
        for oldest in present[:-_KEPT]:
            if await asyncio.to_thread(self.versions.remove, model, oldest):
                present.remove(oldest)

    async def _switch(self) -> None:
        """Another version answers: one of those that are there, or the latest."""
        model = random.choice(EXCHANGED)  # noqa: S311 - no secret
        target = random.choice([*self.present[model][-_KEPT + 1 :], "latest"])  # noqa: S311
        async with httpx.AsyncClient(base_url=self.service.url, timeout=_SWITCH_SECONDS) as client:
            with suppress(httpx.TransportError):  # its worker was killed: the next one comes soon
                answer = await client.put(f"/models/{model}/target", json={"target": target})
                if answer.status_code == httpx.codes.OK:
                    self.swaps += 1

    async def _kill(self) -> None:
        """A worker dies; where there is one alone, nothing answers until the next has come."""
        workers = self.service.workers
        self._killed_at = time.monotonic()
        with suppress(ProcessLookupError):
            os.kill(random.choice(workers), signal.SIGKILL)  # noqa: S311
        self.kills += 1
        self._mark("a worker was killed")

    async def _restart(self, command: str) -> None:
        self._mark("a dependency was restarted")
        process = await asyncio.create_subprocess_exec(*shlex.split(command))
        code = await process.wait()
        self.restarts += 1
        if code:
            self.problems.append(f"{command}: exit code {code}")

    def _mark(self, what: str) -> None:
        self.marks.append((time.monotonic() - self.began, what))
