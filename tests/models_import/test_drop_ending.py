"""A drop folder that is told to end, is killed, or has two who watch it leaves nothing half done."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from hotswap.repository import Artifact
from manifest.tags import ModelTag
from manifest.version_manifest import Measured
from models_import.importer import STEPS
from models_import.probe import Task
from models_import.store import ModelStore
from tests.builders import write_version
from tests.models_import.drops import QUIET, Drop

NAMES = [name for name, _, _ in STEPS] + ["done"]
LONG = 20.0


@pytest.fixture
def drop(tmp_path: Path, home: Path) -> Drop:
    drop = Drop(tmp_path, home)
    write_version(drop.folder, "code", "v1", 1)
    (drop.folder / "code/v1/IMPORT-FAILED.txt").touch()
    return drop


def _sound(drop: Drop) -> bool:
    """Whether the store has the version; if so, it is whole and the pointer names it."""
    sights = ModelStore(drop.home / "models").look() or {}
    if "code" not in sights or not sights["code"].versions:
        return False
    assert isinstance(ModelStore(drop.home / "models").settle(ModelTag("code", "v1")), Artifact)
    return True


@pytest.mark.parametrize("step", NAMES)
def test_told_to_end_at_any_step_it_undoes_it_or_the_next_start_completes_it(drop: Drop, step: str) -> None:
    def end(name: str) -> None:
        if name == step:
            raise SystemExit

    drop.on_step = end
    drop.turns()
    with pytest.raises(SystemExit):
        drop.passes(QUIET)
    assert _sound(drop) == (NAMES.index(step) > NAMES.index("publish"))
    assert drop.notes() == ["code/v1/IMPORT-FAILED.txt"]
    if step != "lock":
        assert [left.name for left in (drop.home / "staging").iterdir()] == ["import.lock"]

    drop.on_step = lambda _step: None
    drop.drop = drop.fresh()
    drop.settles()
    assert _sound(drop)
    assert (drop.home / "models/code/latest").read_text() == "v1"
    assert drop.notes() == []


def test_latest_follows_at_the_next_start_where_a_kill_came_before_it(drop: Drop) -> None:
    drop.settles()
    write_version(drop.folder, "code", "v2", 2)
    drop.settles()
    latest = drop.home / "models/code/latest"
    latest.write_text("v1")
    drop.drop = drop.fresh()
    drop.settles()
    assert latest.read_text() == "v2"
    imports = drop.imports
    drop.drop = drop.fresh()
    drop.settles()
    assert drop.imports == imports


@pytest.fixture
def silent() -> Iterator[int]:
    """What a child can read from, in vain, until the test has ended."""
    reading, writing = os.pipe()
    yield reading
    os.close(writing)
    os.close(reading)


def _end(*_signal: object) -> None:
    raise SystemExit


@pytest.mark.process
def test_a_signal_ends_the_child_that_tries_a_model(tmp_path: Path, home: Path, silent: int) -> None:
    """The child itself sends the signal, and would then stay for as long as the test."""
    pid = tmp_path / "pid"
    script = f"import os; open({str(pid)!r}, 'w').write(str(os.getpid())); "
    script += f"os.kill(os.getppid(), {int(signal.SIGUSR1)}); os.read({silent}, 1)"

    def child(_: Task) -> Measured:
        subprocess.run([sys.executable, "-c", script], check=True, start_new_session=True, pass_fds=(silent,))
        raise AssertionError("the child was waited for")

    drop = Drop(tmp_path, home, probe=child)
    write_version(drop.folder, "code", "v1", 1)
    before = signal.signal(signal.SIGUSR1, _end)
    try:
        drop.turns()
        with pytest.raises(SystemExit):
            drop.passes(QUIET)
    finally:
        signal.signal(signal.SIGUSR1, before)
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid.read_text()), 0)
    assert [left.name for left in (home / "staging").iterdir()] == ["import.lock"]
    assert drop.store() == []


@pytest.mark.parametrize("step", ["copy", "try", "publish", "latest", "clean", "done"])
@pytest.mark.process
def test_killed_at_a_step_it_leaves_nothing_half_done(drop: Drop, step: str) -> None:
    def die(name: str) -> None:
        if name == step:
            os.kill(os.getpid(), signal.SIGKILL)

    def watch() -> None:
        drop.on_step = die
        drop.settles()

    process = multiprocessing.get_context("fork").Process(target=watch)
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert _sound(drop) == (NAMES.index(step) > NAMES.index("publish"))
    drop.drop = drop.fresh()
    drop.settles()
    assert _sound(drop)
    assert drop.notes() == []


def test_two_at_once_do_no_harm(drop: Drop, tmp_path: Path, home: Path) -> None:
    """The second is stopped where it wants to import what the first is about to publish."""
    other = Drop(tmp_path, home)
    wants, may_go = threading.Event(), threading.Event()

    def second(name: str) -> None:
        if name == "lock":
            wants.set()
            assert may_go.wait(LONG)

    other.on_step = second
    other.turns()
    thread = threading.Thread(target=other.passes, args=(QUIET,))
    thread.start()
    assert wants.wait(LONG)
    drop.on_step = lambda name: may_go.set() if name == "publish" else None
    drop.settles()
    thread.join(LONG)
    assert not thread.is_alive()
    assert (drop.imports, other.imports) == (1, 1)
    assert "publish" not in other.steps
    assert _sound(drop)
    assert drop.notes() == []
