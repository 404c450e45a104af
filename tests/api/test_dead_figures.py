"""Figures of workers that have ended, in real files of real processes."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.mmap_dict import MmapedDict
from prometheus_client.multiprocess import MultiProcessCollector

from telemetry import worker_metrics
from telemetry.worker_metrics import fold, still

# Processes start slowly beside others that work.
pytestmark = [pytest.mark.process, pytest.mark.timeout(60)]

_COUNT = """
import pathlib, sys
from telemetry.recorder import Metrics
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
    line = 'http_requests_total{{endpoint="/livez",method="GET",status="200",worker="{}"}} {}'
    assert line.format(0, 6.0) in shown[2].splitlines()
    assert line.format(0, 6.0) in shown[3].splitlines()
    assert line.format(1, 6.0) in shown[3].splitlines()
    assert 'http_request_duration_seconds_count{endpoint="/livez"} 12.0' in shown[3].splitlines()
    names = sorted(path.name for path in tmp_path.glob("counter_*.db"))
    assert len(names) == 2  # the last one's own, and that of all before it
    assert names[1] == "counter_ended.db"


def test_a_process_that_was_stopped_while_it_read_keeps_nobody_from_reading(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_metrics, "PATIENCE", 0.05)
    _counted(tmp_path, 0)
    with still(tmp_path):  # as if it were never to go on
        with pytest.raises(OSError, match="kept by another"):
            fold(tmp_path, MmapedDict)
        shown = _counted(tmp_path, 1)
        assert len(list(tmp_path.glob("counter_*.db"))) == 2
    assert 'http_request_duration_seconds_count{endpoint="/livez"} 6.0' in shown.splitlines()
    fold(tmp_path, MmapedDict)
    assert [path.name for path in tmp_path.glob("counter_*.db")] == ["counter_ended.db"]


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


_STOPPED = """
import os, pathlib, signal, sys
from telemetry import recorder as metrics, worker_metrics as metric_files
reserve = os.posix_fallocate
def stopped(handle, start, size):
    if size == metric_files.FILE_BYTES:
        os.kill(os.getpid(), signal.SIGSTOP)
    reserve(handle, start, size)
os.posix_fallocate = stopped
metrics.Metrics(pathlib.Path(sys.argv[1]), {}).request("GET", "/livez", 200, 0.001)
"""


def test_one_that_has_not_made_its_file_yet_hinders_no_reader(tmp_path: Path) -> None:
    environment = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}
    with subprocess.Popen([sys.executable, "-c", _STOPPED, str(tmp_path)], env=environment) as process:
        try:
            _, status = os.waitpid(process.pid, os.WUNTRACED)
            assert os.WIFSTOPPED(status)
            registry = CollectorRegistry()
            MultiProcessCollector(registry, str(tmp_path))
            assert generate_latest(registry) == b""
        finally:
            process.kill()


DEAD = (999_999_001, 999_999_002, 999_999_003)  # above every pid that a kernel gives
KEY = json.dumps(["requests", "requests_total", {}, ""])


def _write(path: Path, value: float) -> None:
    file = MmapedDict(str(path))
    file.write_value(KEY, value, 0.0)
    file.close()


def _left_by_the_dead(folder: Path) -> None:
    """Two earlier folds' sums, and three workers of whom one was killed while it made its file."""
    for kind in ("counter", "histogram"):
        _write(folder / f"{kind}_ended.db", 100.0)
        for power, pid in enumerate(DEAD[:2]):
            _write(folder / f"{kind}_{pid}.db", 2.0**power)
        (folder / f"{kind}_{DEAD[2]}.db").touch()


def _shown(folder: Path) -> dict[str, float]:
    """The sum of each kind, as who exposes figures reads them."""
    sums: Counter[str] = Counter()
    with still(folder):
        for path in (each for each in folder.glob("*.db") if each.stat().st_size):
            for _, value, _, _ in MmapedDict.read_all_values_from_file(path):
                sums[path.name.partition("_")[0]] += value
    return dict(sums)


def _killed_before(number: int, folder: Path) -> bool:
    """Fold in a process that is killed before its file operation of that number; whether it came so far."""

    def work() -> None:
        left = iter(range(number))

        def count(event: str, args: tuple[object, ...]) -> None:
            ours = event in ("open", "os.rename", "os.remove") and str(folder) in str(args[0])
            if ours and next(left, None) is None:
                os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(count)
        fold(folder, MmapedDict)

    process = multiprocessing.get_context("fork").Process(target=work)
    process.start()
    process.join()
    assert process.exitcode in (0, -signal.SIGKILL)
    return process.exitcode != 0


@pytest.mark.parametrize("look_first", [True, False], ids=["read then folded", "folded"])
def test_a_kill_at_any_step_neither_loses_nor_doubles(tmp_path: Path, look_first: bool) -> None:
    right = {"counter": 103.0, "histogram": 103.0}
    for number in range(100):
        folder = tmp_path / str(number)
        folder.mkdir()
        _left_by_the_dead(folder)
        assert _shown(folder) == right
        killed = _killed_before(number, folder)
        if look_first:
            assert _shown(folder) == right, number
        fold(folder, MmapedDict)
        assert _shown(folder) == right, number
        assert {path.name for path in folder.iterdir()} == {"counter_ended.db", "histogram_ended.db"}
        if not killed:
            break
    assert number > 20


def test_without_room_for_the_list_nothing_is_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _left_by_the_dead(tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def full(path: Path, text: str) -> int:
        path.touch()
        raise OSError("no space left on the device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(OSError, match="no space"):
        fold(tmp_path, MmapedDict)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
