"""The statistics extension of the Open Inference Protocol, from the service's own figures."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field

from prometheus_client.metrics_core import Metric
from prometheus_client.samples import Sample

from hotswap.errors import ModelNotFound, VersionNotFound
from hotswap.generation import State
from hotswap.status import ModelStatus, StateView
from hotswap.tags import as_version

_NONE = "none"


@dataclass(slots=True)
class Duration:
    """How often, and nanoseconds altogether."""

    count: int = 0
    ns: int = 0

    def add(self, seconds: float) -> None:
        """So much longer."""
        self.ns += round(seconds * 1e9)


@dataclass(slots=True)
class ModelStatistics:
    """The figures of one version over all workers since the service started.

    `version` is told as Triton does it, `v2` as `2`: load generators read a number there and nowhere else.
    `fail` counts requests for the model that no version answered; it is told with the version that
    serves. `last_inference` is in milliseconds since 1970, 0 for never.
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
        """Requests answered; each is one execution."""
        return self.success.count


ModelFigures = Callable[[], Iterable[Metric]]


class Statistics:
    """Reads the figures when it is asked."""

    def __init__(self, figures: ModelFigures, view: StateView) -> None:
        self._figures = figures
        self._view = view

    async def of(self, name: str | None, version: str | None = None) -> list[ModelStatistics]:
        """The versions that serve or have answered: of every model, of one, or one version alone.

        Raises `ModelNotFound`, `VersionNotFound`.
        """
        models = self._models(name)
        table = _table(await asyncio.to_thread(self._figures))
        if version is not None:
            return [_of_version(table, models[0], version)]
        return [
            _entry(table, model, each.version, each.state)
            for model in models
            for each in model.versions
            if each.state == State.SERVING or table[model.name, each.version].count
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


def _of_version(table: _Table, model: ModelStatus, asked: str) -> ModelStatistics:
    states = {each.version: each.state for each in model.versions}
    version = as_version(asked, states)
    if version not in states:
        raise VersionNotFound(f"there is no version {version[:64]!r} of {model.name}")
    return _entry(table, model, version, states[version])


def _entry(table: _Table, model: ModelStatus, version: str, state: str) -> ModelStatistics:
    found = table[model.name, version]
    found.version = _number(version, {each.version for each in model.versions})
    if state == State.SERVING:
        found.fail = table[model.name, _NONE].fail
    for each in (found.queue, found.compute_input, found.compute_infer, found.compute_output):
        each.count = found.success.count
    return found


def _number(version: str, known: Collection[str]) -> str:
    """The number by which a version may be asked for, or its name where it has none."""
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


def _requests(found: ModelStatistics, sample: Sample) -> None:
    if sample.name.endswith("_total"):
        outcome = found.success if sample.labels["status"] == "ok" else found.fail
        outcome.count += int(sample.value)


def _run(found: ModelStatistics, sample: Sample) -> None:
    if sample.name.endswith("_sum"):
        found.compute_infer.add(sample.value)


def _stage(found: ModelStatistics, sample: Sample) -> None:
    if sample.name.endswith("_total"):
        stages = {
            "queue": found.queue,
            "input": found.compute_input,
            "output": found.compute_output,
            "total": found.success,
            "refused": found.fail,
        }
        stages[sample.labels["stage"]].add(sample.value)


def _last(found: ModelStatistics, sample: Sample) -> None:
    found.last_inference = round(sample.value * 1e3)


_READ: dict[str, Callable[[ModelStatistics, Sample], None]] = {
    "inference_requests": _requests,
    "inference_duration_seconds": _run,
    "inference_stage_seconds": _stage,
    "inference_last_timestamp_seconds": _last,
}
