"""Figures of workers that have ended, in real files of real processes."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from prometheus_client.mmap_dict import MmapedDict

from api.dead_figures import fold, still

# Processes start slowly beside others that work.
pytestmark = pytest.mark.timeout(60)

_COUNT = """
import pathlib, sys
from api.metrics import Metrics
metrics = Metrics(pathlib.Path(sys.argv[1]), {}, worker=int(sys.argv[2]))
for _ in range(3):
    metrics.request("GET", "/livez", 200, 0.001)
sys.stdout.buffer.write(metrics.exposition())
"""


def _counted(folder: Path, worker: int) -> str:
    """Run a worker that counts three requests and ends; what it exposed."""
    environment = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(folder)}
    command = [sys.executable, "-c", _COUNT, str(folder), str(worker)]
    return subprocess.run(
        command, env=environment, check=True, capture_output=True, text=True, timeout=60
    ).stdout


def test_the_dead_are_counted_on_and_their_files_do_not_pile_up(tmp_path: Path) -> None:
    shown = [_counted(tmp_path, worker) for worker in (0, 1, 0, 1)]
    line = 'http_requests_total{{method="GET",route="/livez",status="200",worker="{}"}} {}'
    assert line.format(0, 6.0) in shown[2].splitlines()
    assert line.format(0, 6.0) in shown[3].splitlines()
    assert line.format(1, 6.0) in shown[3].splitlines()
    assert 'http_request_duration_seconds_count{route="/livez"} 12.0' in shown[3].splitlines()
    names = sorted(path.name for path in tmp_path.glob("counter_*.db"))
    assert len(names) == 2  # the last one's own, and that of all before it
    assert names[1] == "counter_ended.db"


def test_the_living_are_left_alone(tmp_path: Path) -> None:
    own = tmp_path / f"counter_{os.getpid()}.db"
    own.write_bytes(bytes(64))
    fold(tmp_path, MmapedDict)
    assert [path.name for path in tmp_path.iterdir()] == [own.name]


def test_without_room_nothing_is_changed(tmp_path: Path) -> None:
    _counted(tmp_path, 0)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def full(_: str) -> MmapedDict:
        raise OSError("no space left on the device")

    with pytest.raises(OSError, match="no space"):
        fold(tmp_path, full)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_nobody_reads_while_files_are_folded(tmp_path: Path) -> None:
    done = threading.Event()

    def read() -> None:
        with still(tmp_path):
            done.set()

    reader = threading.Thread(target=read)
    with still(tmp_path):
        reader.start()
        assert not done.wait(0.1)
    assert done.wait(5.0)
    reader.join()
