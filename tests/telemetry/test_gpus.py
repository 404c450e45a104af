"""The memory of GPUs is offered where there are some, and nothing where there are none."""

from __future__ import annotations

from pathlib import Path

from prometheus_client import CollectorRegistry, generate_latest

from hotswap.runner import Fallback
from manifest.tags import ModelTag
from telemetry import gpus
from telemetry.metrics import Machine
from telemetry.observers import Metrics


def _text(machine: Machine) -> str:
    registry = CollectorRegistry()
    registry.register(machine)
    return generate_latest(registry).decode()


def test_each_gpu_has_a_figure() -> None:
    text = _text(Machine({}, lambda: {"cuda:0": 3_000_000_000, "cuda:1": 0}))
    assert 'gpu_memory_bytes{device="cuda:0"} 3e+09' in text
    assert 'gpu_memory_bytes{device="cuda:1"} 0.0' in text


def test_without_one_the_metric_is_absent() -> None:
    assert "gpu_memory" not in _text(Machine({}, dict))


def test_this_machine_is_asked_without_an_error() -> None:
    assert gpus.count() == len(gpus.used_bytes())


def test_fallbacks_are_counted(tmp_path: Path) -> None:
    metrics = Metrics(tmp_path, {})
    for _ in range(2):
        metrics.fell_back(ModelTag("m", "v1"), Fallback("cuda:0", "run", "out of memory"))
    labels = 'cause="run",device="cuda:0",model="m"'
    assert f"device_fallbacks_total{{{labels}}} 2.0" in metrics.exposition().decode()
