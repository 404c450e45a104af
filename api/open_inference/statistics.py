"""The statistics extension of the Open Inference Protocol, computed from the service's metrics."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field

from prometheus_client.metrics_core import Metric
from prometheus_client.samples import Sample

from hotswap.errors import ModelNotFound, VersionNotFound
from hotswap.generation import State
from hotswap.status import ModelStatus, StateView
from manifest.tags import as_version

_NONE = "none"


@dataclass(slots=True)
class Duration:
    """A number of events and their total duration in nanoseconds."""

    count: int = 0
    ns: int = 0

    def add(self, seconds: float) -> None:
        """Add a duration."""
        self.ns += round(seconds * 1e9)


@dataclass(slots=True)
class ModelStatistics:
    """The statistics of one version over all workers since the start of the service.

    `version` has Triton's form, `2` for `v2`: load generators expect a number. `fail` counts requests for
    the model that no version answered; it is reported with the serving version. `last_inference` is in
    milliseconds since 1970, 0 for never.
    """

    name: str
    version: str
    last_inference: int = 0
    success: Duration = field(default_factory=Duration)
    fail: Duration = field(default_factory=Duration)
    queue: Duration = field(default_factory=Duration)
    compute_input: Duration = field(default_factory=Duration)
    compute_infer: Duration = field(default_factory=Duration)
    compute_output: Duration = field(default_factory=Duration)

    @property
    def count(self) -> int:
        """Answered requests; each is one execution."""
        return self.success.count


ModelFigures = Callable[[], Iterable[Metric]]


class Statistics:
    """Computes statistics on request."""

    def __init__(self, figures: ModelFigures, view: StateView) -> None:
        self._figures = figures
        self._view = view

    async def of(self, name: str | None, version: str | None = None) -> list[ModelStatistics]:
        """The statistics of versions that serve or have answered: of all models, one model or one version.

        Raises `ModelNotFound`, `VersionNotFound`.
        """
        models = self._models(name)
        table = _table(await asyncio.to_thread(self._figures))
        if version is not None:
            return [_of_version(table, models[0], version)]
        return [
            _entry(table, model, version_status.version, version_status.state)
            for model in models
            for version_status in model.versions
            if version_status.state == State.SERVING or table[model.name, version_status.version].count
        ]

    def _models(self, name: str | None) -> list[ModelStatus]:
        if name is None:
            return self._view.models()
        if not self._view.known(name):
            raise ModelNotFound(f"there is no model {name[:64]!r}; GET /models lists them")
        return [self._view.model(name)]


class _Table(dict[tuple[str, str], ModelStatistics]):
    def __missing__(self, key: tuple[str, str]) -> ModelStatistics:
        self[key] = ModelStatistics(*key)
        return self[key]


def _of_version(table: _Table, model: ModelStatus, requested: str) -> ModelStatistics:
    states = {status.version: status.state for status in model.versions}
    version = as_version(requested, states)
    if version not in states:
        raise VersionNotFound(f"there is no version {version[:64]!r} of {model.name}")
    return _entry(table, model, version, states[version])


def _entry(table: _Table, model: ModelStatus, version: str, state: str) -> ModelStatistics:
    entry = table[model.name, version]
    entry.version = _number(version, {status.version for status in model.versions})
    if state == State.SERVING:
        entry.fail = table[model.name, _NONE].fail
    for duration in (entry.queue, entry.compute_input, entry.compute_infer, entry.compute_output):
        duration.count = entry.success.count
    return entry


def _number(version: str, known: Collection[str]) -> str:
    """The number of a version (`2` for `v2`), or its name if it has no number of its own."""
    number = version.removeprefix("v")
    return number if as_version(number, known) == version else version


def _table(families: Iterable[Metric]) -> _Table:
    table = _Table()
    for family in families:
        read = _READ.get(family.name)
        if read is not None:
            for sample in family.samples:
                read(table[sample.labels["model"], sample.labels["version"]], sample)
    return table


def _requests(entry: ModelStatistics, sample: Sample) -> None:
    if sample.name.endswith("_total"):
        outcome = entry.success if sample.labels["status"] == "ok" else entry.fail
        outcome.count += int(sample.value)


def _run(entry: ModelStatistics, sample: Sample) -> None:
    if sample.name.endswith("_sum"):
        entry.compute_infer.add(sample.value)


def _stage(entry: ModelStatistics, sample: Sample) -> None:
    if sample.name.endswith("_total"):
        stages = {
            "queue": entry.queue,
            "input": entry.compute_input,
            "output": entry.compute_output,
            "total": entry.success,
            "refused": entry.fail,
        }
        stages[sample.labels["stage"]].add(sample.value)


def _last(entry: ModelStatistics, sample: Sample) -> None:
    entry.last_inference = round(sample.value * 1e3)


_READ: dict[str, Callable[[ModelStatistics, Sample], None]] = {
    "inference_requests": _requests,
    "inference_duration_seconds": _run,
    "inference_stage_seconds": _stage,
    "inference_last_timestamp_seconds": _last,
}
