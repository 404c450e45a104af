"""ModelMora's figures: made of ours, over all workers, with labels that are bounded as ours are."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import values
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families

from hotswap.desired import set_loaded
from hotswap.events import Observers
from hotswap.predictions import Answer, Timings
from manifest.profiles import ModelProfile
from manifest.tags import ModelTag
from manifest.version_manifest import Measured
from telemetry.metrics import available_bytes
from telemetry.modelmora_metrics import BUCKETS
from telemetry.observers import Metrics
from tests.hotswap.fakes import artifact
from tests.hotswap.world import World

PREFIX = "modemora_"
INFO = {"version": "1.2.3", "python": "3.11.9", "bentoml": "1", "onnxruntime": "2"}
ALL = {
    "inference_requests": "counter",
    "inference_duration_seconds": "histogram",
    "models_loaded": "gauge",
    "model_memory_usage_bytes": "gauge",
    "model_evictions": "counter",
    "system_memory_available_bytes": "gauge",
    "service_info": "gauge",
}


def an_answer(model: str, version: str, seconds: float = 0.01) -> Answer:
    """Nothing was found, in so many seconds of the model."""
    return Answer(
        request_id="r",
        model=model,
        version=version,
        digest="sha256:1",
        generation=1,
        task="object-detection",
        queue_ms=0.0,
        stages=Timings(inference=seconds * 1e3),
        total_ms=seconds * 1e3,
        predictions=(),
    )


class OneOfTwo:
    """The metrics of one worker, in files of its own: the library asks a global where these are."""

    def __init__(self, folder: Path, worker: int) -> None:
        self._metrics = Metrics(folder, INFO, worker)
        self._kind = values.ValueClass

    def __getattr__(self, name: str) -> Any:
        values.ValueClass = self._kind
        return getattr(self._metrics, name)


Counting = Metrics | OneOfTwo


@pytest.fixture(params=["one worker alone", "two workers"])
def workers(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[Counting, Counting]:
    """Two that count, of which the second shows; alone they are the same."""
    monkeypatch.setattr(values, "ValueClass", values.ValueClass)
    monkeypatch.delenv("PROMETHEUS_MULTIPROC_DIR", raising=False)
    if request.param == "one worker alone":
        alone = Metrics(tmp_path, INFO, gpu_enabled=True)
        return alone, alone
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
    return OneOfTwo(tmp_path, 0), OneOfTwo(tmp_path, 1)


def figures(metrics: Counting) -> dict[str, Metric]:
    families = text_string_to_metric_families(metrics.exposition().decode())
    return {each.name.removeprefix(PREFIX): each for each in families if each.name.startswith(PREFIX)}


def value(metrics: Counting, name: str, **labels: str) -> float:
    samples = [sample for family in figures(metrics).values() for sample in family.samples]
    return sum(each.value for each in samples if each.name == PREFIX + name and each.labels == labels)


def test_every_figure_is_there_from_the_beginning_by_the_naming_rules(
    workers: tuple[Counting, Counting],
) -> None:
    text = workers[1].exposition().decode()
    found = figures(workers[1])
    assert {name: family.type for name, family in found.items()} == ALL
    helps = re.findall(rf"^# HELP ({PREFIX}\w+) (.*)$", text, re.MULTILINE)
    assert len(helps) == len({name for name, _ in helps}) == len(ALL)
    assert all(words for _, words in helps)
    assert all(name.endswith("_total") == (kind == "counter") for name, kind in _types(text))


def _types(text: str) -> list[tuple[str, str]]:
    return re.findall(rf"^# TYPE ({PREFIX}\w+) (\w+)$", text, re.MULTILINE)


def test_requests_are_summed_over_versions_and_workers(
    workers: tuple[Counting, Counting], tmp_path: Path
) -> None:
    for number, worker in enumerate(workers):
        worker.count_answer(an_answer("m", f"v{number}"))
        worker.count_refusal("m", "deadline_exceeded")
        worker.count_refusal("m", "insufficient_memory")
    worker.count_refusal(None, "model_not_found")
    files = [each.name for each in tmp_path.glob("counter_*.db") if b'"m"' in each.read_bytes()]
    assert len(files) == (0 if workers[0] is worker else 2)
    assert value(worker, "inference_requests_total", model_name="m", status="success") == 2
    assert value(worker, "inference_requests_total", model_name="m", status="error") == 4
    assert value(worker, "inference_requests_total", model_name="none", status="error") == 1


def test_durations_are_in_the_buckets_of_modelmora(workers: tuple[Counting, Counting]) -> None:
    seconds = (0.05, 0.1, 0.3, 1.5, 2.0, 2.4, 7.0, 60.0)
    for number, each in enumerate(seconds):
        workers[number % 2].count_answer(an_answer("m", f"v{number}", each))
    name, worker = "inference_duration_seconds", workers[1]
    for bound in BUCKETS:
        expected = sum(each <= bound for each in seconds)
        assert value(worker, f"{name}_bucket", model_name="m", le=str(bound)) == expected
    assert value(worker, f"{name}_bucket", model_name="m", le="+Inf") == len(seconds)
    assert value(worker, f"{name}_count", model_name="m") == len(seconds)
    assert value(worker, f"{name}_sum", model_name="m") == pytest.approx(sum(seconds))
    bounds = [sample.labels.get("le") for sample in figures(worker)[name].samples]
    assert [each for each in bounds if each] == [*map(str, BUCKETS), "+Inf"]


def test_evictions_are_counted_for_each_model_and_together(workers: tuple[Counting, Counting]) -> None:
    for worker in workers:
        Observers(worker).evicted(ModelTag("m", "v1"), "room for n:v1", 310_000_000, 2.0)
    Observers(worker).evicted(ModelTag("n", "v1"), "idle", 1, 3.0)
    assert value(worker, "model_evictions_total") == 3
    assert 'model_evictions_total{model="m"} 2.0' in worker.exposition().decode()


def test_what_is_in_memory_is_seen_at_every_look(workers: tuple[Counting, Counting]) -> None:
    world = World("a:v1", "b:v1", profiles={"absent": ModelProfile("absent")})
    tag = ModelTag("a", "v1")
    cost = Measured(load_seconds=1, peak_bytes=9000, resident_bytes=7000, onnxruntime="1")
    world.source.settled[tag] = replace(artifact(tag), measured=cost)
    world.settle()
    for worker in workers:
        worker.sample(world.reconciler.view)
    assert value(worker, "models_loaded") == 2
    assert value(worker, "model_memory_usage_bytes", model_name="a") == 7000
    assert 'model_memory_bytes{model="a"} 7000.0' in worker.exposition().decode()
    world.store.edit(set_loaded("a", False, "test", None))
    world.settle()
    for worker in workers:
        worker.sample(world.reconciler.view)
    assert value(worker, "models_loaded") == 1
    assert value(worker, "model_memory_usage_bytes", model_name="a") == 0


def test_machine_and_service_are_described(workers: tuple[Counting, Counting]) -> None:
    first, second = workers
    labels = {"version": "1.2.3", "python_version": "3.11.9", "gpu_enabled": str(first is second).lower()}
    assert value(second, "service_info", **labels) == 1
    assert value(second, "system_memory_available_bytes") == pytest.approx(available_bytes(), rel=0.2)


@pytest.mark.slow
def test_versions_beyond_the_bound_add_no_series(workers: tuple[Counting, Counting]) -> None:
    worker = workers[0]
    for number in range(300):
        worker.count_answer(an_answer("m", f"v{number}"))
    assert value(worker, "inference_requests_total", model_name="m", status="success") == 300
    assert len(figures(worker)["inference_requests"].samples) == 1
