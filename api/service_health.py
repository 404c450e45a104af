"""`GET /health`: one document that says how the service is, answered within a second whatever hangs."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal

from pydantic import BaseModel, Field

from api.probe import Probe
from hotswap.status import StateView
from telemetry.machine_usage import CpuUsage, finite, memory_percent
from telemetry.metrics import resident_bytes

#: Seconds that a dependency gets to answer.
PATIENCE = 0.5
_MEGA = 1_000_000

HealthStatus = Literal["healthy", "degraded", "unhealthy"]


class ServiceBody(BaseModel):
    """Which service answers."""

    name: str
    version: str
    uptime_seconds: float


class LoadedModelsBody(BaseModel):
    """How many models are in memory, and MB that they take and may take in all workers."""

    loaded: int
    count: int
    memory_used_mb: float
    memory_max_mb: float | None = Field(description="null: no bound is set")


class MachineBody(BaseModel):
    """How busy the machine is; null where the system does not say."""

    cpu_percent: float | None = Field(description="of all CPUs, since it was asked last")
    memory_percent: float | None
    disk_percent: float | None = Field(description="of the file system that the home is on")


class DependencyBody(BaseModel):
    """Whether a dependency answers, and if not, why."""

    status: Literal["healthy", "unhealthy"]
    reason: str | None


class ServiceHealthBody(BaseModel):
    """The answer to `GET /health`; status 503 where the service is unhealthy."""

    status: HealthStatus = Field(
        description="degraded: models answer, but something else does not work; unhealthy: no required model "
        "can answer"
    )
    reason: str | None = Field(description="what does not work")
    timestamp: datetime
    models_loaded: list[str]
    memory_usage_mb: float | None = Field(description="resident MB of the worker that answers")
    uptime_seconds: float
    service: ServiceBody
    models: LoadedModelsBody
    resources: MachineBody
    dependencies: dict[str, DependencyBody]


@dataclass(frozen=True, slots=True)
class Dependency:
    """Something that the service needs. `check` raises where it cannot be used; it may hang."""

    check: Callable[[], object]
    is_used: Callable[[], bool] = lambda: True


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthSources:
    """Where the document's parts come from. `started` is in seconds since 1970, `memory_budget` in bytes.

    `not_ready` and `degraded` return what does not work, None where all does; `disk_percent` may hang.
    """

    view: StateView
    version: str
    started: Callable[[], float]
    not_ready: Callable[[], str | None]
    degraded: Callable[[], str | None]
    disk_percent: Callable[[], float | None]
    dependencies: Mapping[str, Dependency] = field(default_factory=dict)
    memory_budget: Callable[[], int | None] = lambda: None


class ServiceHealth:
    """Asks everything and builds the document. For the event loop's thread."""

    def __init__(self, sources: HealthSources) -> None:
        self._sources = sources
        self._cpus = CpuUsage()
        self._disk = Probe("disk", sources.disk_percent)
        self._probes = {name: Probe(name, each.check) for name, each in sources.dependencies.items()}

    async def report(self) -> ServiceHealthBody:
        """The document. It never waits longer than `PATIENCE`, and never raises for what is away."""
        disk, dependencies = await asyncio.gather(self._disk.result(PATIENCE), self._asked())
        status, reason = self._status(dependencies)
        loaded, models = self._models()
        uptime = max(0.0, round(time.time() - self._sources.started(), 1))
        return ServiceHealthBody(
            status=status,
            reason=reason,
            timestamp=datetime.now(UTC),
            models_loaded=loaded,
            memory_usage_mb=_megabytes(finite(resident_bytes())),
            uptime_seconds=uptime,
            service=ServiceBody(name="okawari", version=self._sources.version, uptime_seconds=uptime),
            models=models,
            resources=MachineBody(
                cpu_percent=self._cpus.percent(), memory_percent=memory_percent(), disk_percent=disk.value
            ),
            dependencies=dependencies,
        )

    async def _asked(self) -> dict[str, DependencyBody]:
        used = [probe for name, probe in self._probes.items() if self._sources.dependencies[name].is_used()]
        results = await asyncio.gather(*(probe.result(PATIENCE) for probe in used))
        return {
            probe.name: DependencyBody(
                status="healthy" if result.problem is None else "unhealthy", reason=result.problem
            )
            for probe, result in zip(used, results, strict=True)
        }

    def _models(self) -> tuple[list[str], LoadedModelsBody]:
        names = self._sources.view.names()
        residences = {name: self._sources.view.residence(name) for name in names}
        loaded = [name for name, residence in residences.items() if residence.loaded]
        used = sum(residence.memory_bytes for residence in residences.values())
        return loaded, LoadedModelsBody(
            loaded=len(loaded),
            count=len(names),
            memory_used_mb=_megabytes(used) or 0.0,
            memory_max_mb=_megabytes(self._sources.memory_budget()),
        )

    def _status(self, dependencies: Mapping[str, DependencyBody]) -> tuple[HealthStatus, str | None]:
        missing = self._sources.not_ready()
        if missing is not None and not self._some_answer():
            return "unhealthy", missing
        away = (f"{name}: {one.reason}" for name, one in dependencies.items() if one.status != "healthy")
        reason = missing or self._sources.degraded() or next(away, None)
        return ("healthy" if reason is None else "degraded"), reason

    def _some_answer(self) -> bool:
        """Whether one of the required models answers, though not all do."""
        required = self._sources.view.required or ()
        return len(self._sources.view.not_serving(required)) < len(required)


def _megabytes(size: float | None) -> float | None:
    return None if size is None else round(size / _MEGA, 1)
