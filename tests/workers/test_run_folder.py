"""What the running service says of itself on disk."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from workers.run_folder import HomeInUse, RunFolder

ROOT = Path(__file__).parents[2]

_CLAIM = """
import sys, pathlib
from workers.run_folder import RunFolder
RunFolder(pathlib.Path(sys.argv[1])).claim()
print("claimed", flush=True)
sys.stdin.read()
"""


@contextmanager
def another_service(home: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that has claimed the home; killed at the end."""
    with subprocess.Popen(
        [sys.executable, "-c", _CLAIM, str(home)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "claimed\n"
        try:
            yield process
        finally:
            process.kill()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever finds the home taken does not wait to see whether that was only a question."""
    monkeypatch.setattr("workers.run_folder.time.sleep", lambda _: None)


def state(pid: int, **more: Any) -> dict[str, Any]:
    return {"pid": pid, "started": 1.0, **more}


def a_dead_pid() -> int:
    """The pid of a process that has ended and was waited for."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


@pytest.mark.usefixtures("impatient")
@pytest.mark.process
def test_a_home_that_is_taken_is_refused_naming_the_holder_and_freed_by_its_death(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    with another_service(tmp_path) as holder:
        assert run.is_up()
        with pytest.raises(HomeInUse, match=f"pid {holder.pid};") as refused:
            run.claim()
        assert str(tmp_path) in str(refused.value)
        assert run.pid() == holder.pid
        holder.kill()
        holder.wait()
        assert not run.is_up()
        run.claim()
    assert (run.is_up(), run.pid()) == (True, os.getpid())


@pytest.mark.usefixtures("impatient")
def test_a_second_claim_in_the_same_process_is_refused_too(tmp_path: Path) -> None:
    first = RunFolder(tmp_path)
    first.claim()
    with pytest.raises(HomeInUse, match=f"pid {os.getpid()};"):
        RunFolder(tmp_path).claim()


def test_asking_whether_it_is_up_takes_nothing_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import fcntl

    RunFolder(tmp_path).prepare()
    asking = os.open(tmp_path / "run" / "service.lock", os.O_RDWR | os.O_CREAT)
    fcntl.flock(asking, fcntl.LOCK_SH)
    monkeypatch.setattr("workers.run_folder.time.sleep", lambda _: fcntl.flock(asking, fcntl.LOCK_UN))
    run = RunFolder(tmp_path)
    run.claim()
    assert run.is_up()
    os.close(asking)


def test_a_home_that_nobody_ever_claimed_is_down(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    assert (run.is_up(), run.pid(), run.worker_states(), run.reload_asked()) == (False, None, [], 0)


def test_a_pid_left_behind_does_not_mean_up(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    run.prepare()
    (run.path / "service.pid").write_text(f"{os.getpid()}\n")
    assert not run.is_up()


@pytest.mark.parametrize("text", ["", "many", "\x00"])
def test_a_damaged_pid_or_asking_is_none(tmp_path: Path, text: str) -> None:
    run = RunFolder(tmp_path)
    run.prepare()
    (run.path / "service.pid").write_text(text)
    (run.asked / "reload").write_text(text)
    assert (run.pid(), run.reload_asked()) == (None, 0)
    assert run.ask_reload() == 1


def test_claiming_sweeps_away_what_earlier_services_left(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    run.prepare()
    run.write_worker(state(os.getpid()))
    (run.metrics / "counter_1.db").write_bytes(b"old")
    (run.board / "beats").write_bytes(b"old")
    run.ask_reload()
    run.claim()
    left = [list(folder.iterdir()) for folder in (run.workers, run.metrics, run.board)]
    assert (left, run.reload_asked()) == ([[], [], []], 0)


def test_what_a_worker_wrote_is_read_while_the_service_is_up(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    run.prepare()
    models = {"m": {"target": "latest", "serving": "v1", "generation": 3, "generations": []}}
    run.write_worker(state(os.getpid(), ready=True, models=models))
    assert run.worker_states() == []
    run.claim()
    run.write_worker(state(os.getpid(), ready=True, models=models))
    (found,) = run.worker_states()
    assert (found.pid, found.ready, found.models["m"].generation) == (os.getpid(), True, 3)


@pytest.mark.process
def test_workers_that_died_or_wrote_rubbish_are_left_out(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    run.claim()
    run.write_worker(state(os.getpid()))
    run.write_worker(state(a_dead_pid()))
    (run.workers / "1.json").write_text("{")
    (run.workers / "2.json").write_bytes(b"\xff")
    assert [found.pid for found in run.worker_states()] == [os.getpid()]


def test_a_worker_that_ended_is_forgotten_however_often(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    run.claim()
    run.write_worker(state(os.getpid()))
    run.remove_worker(os.getpid())
    run.remove_worker(os.getpid())
    assert run.worker_states() == []


def test_every_asking_for_a_reload_has_a_higher_number_than_the_one_before(tmp_path: Path) -> None:
    run, other = RunFolder(tmp_path), RunFolder(tmp_path)
    numbers = [run.ask_reload(), other.ask_reload(), run.ask_reload()]
    assert numbers == sorted(set(numbers))
    assert other.reload_asked() == numbers[-1]
