"""A forked worker finds what an executed one would, and nothing of the master."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
from circus import process as manager

from tests.e2e.waiting import until
from workers import fork

pytestmark = [
    pytest.mark.process,
    pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning"),
]

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def entry_point(monkeypatch: pytest.MonkeyPatch) -> None:
    """The worker that is started says what it finds."""
    monkeypatch.setattr(fork, "WORKER", ["-m", "tests.workers.forked"])


@pytest.fixture(autouse=True)
def none_stays() -> Iterator[None]:
    """A test that fails leaves no worker behind: it would hold the output of the tests open."""
    yield
    for worker in _started:
        if worker.poll() is None:
            worker.kill()
            worker.wait()
    _started.clear()


_started: list[Any] = []


def _start(folder: Path, ending: str, **environment: str) -> Any:
    command = [sys.executable, "-m", "tests.workers.forked", str(folder / "report"), ending]
    _started.append(
        fork.start(command, cwd=str(folder), env=environment, preexec_fn=os.setsid, close_fds=False)
    )
    return _started[-1]


def _ended(worker: Any) -> int:
    until(lambda: worker.poll() is not None, "the worker ends")
    assert isinstance(worker.poll(), int)
    return int(worker.poll())


def _report(folder: Path) -> dict[str, Any]:
    return until(lambda: _read(folder / "report"), "the worker reports")


def _read(report: Path) -> dict[str, Any] | None:
    """The report; None before it is whole."""
    with suppress(FileNotFoundError, json.JSONDecodeError):
        found: dict[str, Any] = json.loads(report.read_text())
        return found
    return None


def test_it_has_the_command_lines_environment_and_folder_and_no_signal_handler_of_the_master(
    tmp_path: Path,
) -> None:
    before = signal.signal(signal.SIGTERM, lambda *_: None)
    try:
        worker = _start(tmp_path, "3", ONLY="this")
    finally:
        signal.signal(signal.SIGTERM, before)
    assert _ended(worker) == 3
    found = _report(tmp_path)
    assert found["argv"] == [str(tmp_path / "report"), "3"]
    assert found["environment"] == {"ONLY": "this"}
    assert found["folder"] == str(tmp_path)
    assert found["session"] == worker.pid
    assert (found["terminate"], found["hangup"], found["wakeup"]) == (True, True, -1)


def test_it_does_not_hold_the_locks_of_the_master(tmp_path: Path) -> None:
    held = os.open(tmp_path / "lock", os.O_RDWR | os.O_CREAT)
    fcntl.flock(held, fcntl.LOCK_EX)
    worker = _start(tmp_path, "wait")
    _report(tmp_path)
    os.close(held)
    with (tmp_path / "lock").open() as again:
        fcntl.flock(again, fcntl.LOCK_EX | fcntl.LOCK_NB)
    assert worker.poll() is None
    worker.terminate()
    assert _ended(worker) == -signal.SIGTERM


def test_it_keeps_the_descriptors_that_are_handed_on(tmp_path: Path) -> None:
    held = os.open(tmp_path / "lock", os.O_RDWR | os.O_CREAT)
    os.set_inheritable(held, True)
    fcntl.flock(held, fcntl.LOCK_EX)
    worker = _start(tmp_path, "wait")
    _report(tmp_path)
    os.close(held)
    with (tmp_path / "lock").open() as again, pytest.raises(BlockingIOError):
        fcntl.flock(again, fcntl.LOCK_EX | fcntl.LOCK_NB)
    worker.kill()
    assert _ended(worker) == -signal.SIGKILL


def test_one_that_fails_says_why_and_never_returns_into_the_master(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    master = os.getpid()
    assert _ended(_start(tmp_path, "fail")) == 1
    assert os.getpid() == master
    assert "RuntimeError: it fails" in capfd.readouterr().err


def test_its_end_is_known_when_another_has_waited_for_it(tmp_path: Path) -> None:
    worker = _start(tmp_path, "0")
    os.waitpid(worker.pid, 0)
    assert worker.poll() == 0


def test_other_commands_are_executed(tmp_path: Path) -> None:
    other = fork.start(
        [sys.executable, "-c", "raise SystemExit(5)"], cwd=str(tmp_path), env={}, preexec_fn=os.setsid
    )
    assert type(other) is psutil.Popen
    assert other.wait() == 5


@pytest.mark.parametrize("option", ["--reload", "--development"])
def test_a_service_that_reads_changed_code_again_executes_its_workers(
    monkeypatch: pytest.MonkeyPatch, option: str
) -> None:
    monkeypatch.setattr(manager, "Popen", psutil.Popen)
    monkeypatch.setattr(sys, "argv", ["bentoml", "serve", option])
    fork.take_over()
    assert manager.Popen is psutil.Popen
    monkeypatch.setattr(sys, "argv", ["bentoml", "serve"])
    fork.take_over()
    assert manager.Popen is fork.start


def test_an_unknown_process_manager_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manager, "Popen", object)
    with pytest.raises(AttributeError):
        fork.take_over()


def test_what_a_worker_of_bentoml_needs_is_imported_before() -> None:
    """In a process of its own, which has the variables of a worker and nothing else."""
    said = subprocess.run(
        [sys.executable, "-c", _AS_A_WORKER], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert said.stdout.split() == []


#: Imports early, then all that the server of a worker does, and names the packages that were not there.
_AS_A_WORKER = """
import sys
from workers import fork
fork.import_for_workers()
before = set(sys.modules)
import _bentoml_impl.server.app, _bentoml_impl.server.proxy, uvicorn.lifespan.on, uvicorn.loops.uvloop
print(*{name.partition(".")[0] for name in sys.modules} - {name.partition(".")[0] for name in before})
"""
