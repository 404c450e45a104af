"""Metrics of workers that have ended, in real files of real processes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from telemetry.worker_metrics import FILE_BYTES, AllWorkers, share

# Processes start slowly beside others that work.
pytestmark = [pytest.mark.process, pytest.mark.timeout(60)]

_COUNT = """
import pathlib, sys
from telemetry.observers import Metrics
metrics = Metrics(pathlib.Path(sys.argv[1]), {}, worker=int(sys.argv[2]))
for _ in range(3):
    metrics.request("GET", "/livez", 200, 0.001)
metrics.connections(7)
metrics.load_time.labels("m", "v1").set(2)
sys.stdout.buffer.write(metrics.exposition())
"""


def _counted(folder: Path, worker: int) -> list[str]:
    """Run a worker that counts three requests and ends; the lines that it exposed."""
    environment = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(folder)}
    command = [sys.executable, "-c", _COUNT, str(folder), str(worker)]
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True, timeout=60)
    return done.stdout.splitlines()


def _samples(folder: Path, living: set[int]) -> dict[str, float]:
    """The sum of each series' values, by name."""
    sums: dict[str, float] = {}
    for family in AllWorkers(folder, living.__contains__).collect():
        for sample in family.samples:
            sums[sample.name] = sums.get(sample.name, 0.0) + sample.value
    return sums


def test_the_dead_are_counted_on_and_their_files_do_not_pile_up(tmp_path: Path) -> None:
    shown = [_counted(tmp_path, worker) for worker in (0, 1, 0, 1)]
    line = 'http_requests_total{{endpoint="/livez",method="GET",status="200",worker="{}"}} {}'
    assert line.format(0, 6.0) in shown[2]
    assert line.format(0, 6.0) in shown[3]
    assert line.format(1, 6.0) in shown[3]
    assert 'http_request_duration_seconds_count{endpoint="/livez"} 12.0' in shown[3]
    assert len(list(tmp_path.iterdir())) == 10


def test_live_gauges_of_the_dead_are_gone_and_all_else_stays(tmp_path: Path) -> None:
    for worker in (0, 1):
        _counted(tmp_path, worker)
    assert _samples(tmp_path, {0, 1})["http_connections"] == 14
    one = _samples(tmp_path, {1})
    assert one["http_connections"] == 7
    none = _samples(tmp_path, set())
    assert "http_connections" not in none
    assert none["http_requests_total"] == one["http_requests_total"] == 6
    assert none["model_load_time_seconds"] == 2


def test_who_takes_the_number_of_a_dead_worker_begins_with_no_live_gauge(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _counted(tmp_path, 0)
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
    monkeypatch.setattr("prometheus_client.values.ValueClass", None)
    assert share(tmp_path, 0)
    assert "http_connections" not in _samples(tmp_path, {0})


def test_every_file_is_whole_before_the_library_maps_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
    monkeypatch.setattr("prometheus_client.values.ValueClass", None)
    assert share(tmp_path, 3)
    sizes = {path.name: (path.stat().st_size, path.stat().st_blocks * 512) for path in tmp_path.iterdir()}
    assert set(sizes.values()) == {(FILE_BYTES, FILE_BYTES)}
    assert _samples(tmp_path, {3}) == {}
    _counted(tmp_path, 3)
    assert {path.name for path in tmp_path.iterdir()} == sizes.keys()  # no kind that was forgotten


def test_without_room_a_worker_shows_its_own(tmp_path: Path) -> None:
    folder = tmp_path / "missing"
    shown = _counted(folder, 2)
    assert "http_connections 7.0" in shown
