"""Seats: who lives, told by locks and heartbeats of real processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.waiting import until
from workers import membership
from workers.membership import NoWorkerSlot, WorkerTable, registers

_SIT = """
import sys, pathlib
from workers.membership import WorkerTable
seat = WorkerTable(pathlib.Path(sys.argv[1]), 3).take()
seat.tell_connections(7)
seat.start()
print(seat.index, flush=True)
sys.stdin.read()
seat.rest()
"""


@pytest.fixture
def sitting(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that sits on the first seat."""
    process = subprocess.Popen(
        [sys.executable, "-c", _SIT, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(membership.__file__).parent.parent,
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == "0\n"
        yield process
        process.kill()


@pytest.fixture
def lasting(monkeypatch: pytest.MonkeyPatch) -> None:
    """One beat lasts for the test: on a busy machine nobody counts as stopped who was not."""
    monkeypatch.setattr("workers.membership.STOPPED", 30.0)


@pytest.mark.usefixtures("lasting")
@pytest.mark.process
def test_each_takes_its_own_seat_until_all_are_taken(tmp_path: Path, sitting: subprocess.Popen[str]) -> None:
    ours = WorkerTable(tmp_path, 3)
    one, two = ours.take(), ours.take()
    assert (one.index, two.index) == (1, 2)
    with pytest.raises(NoWorkerSlot):
        ours.take()
    assert ours.living() == (0, 1, 2)
    assert ours.connections() == {0: 7, 1: 0, 2: 0}


@pytest.mark.usefixtures("lasting")
@pytest.mark.process
def test_a_killed_process_is_gone_at_once(tmp_path: Path, sitting: subprocess.Popen[str]) -> None:
    ours = WorkerTable(tmp_path, 3)
    assert ours.living() == (0,)
    sitting.kill()
    sitting.wait()
    assert ours.living() == ()
    assert ours.take().index == 0


@pytest.mark.process
def test_a_stopped_process_keeps_its_seat_and_does_not_count(
    tmp_path: Path, sitting: subprocess.Popen[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.membership.STOPPED", 1.5)
    ours = WorkerTable(tmp_path, 3)
    os.kill(sitting.pid, signal.SIGSTOP)
    until(lambda: ours.living() == (), "who does not beat counts as stopped", 8.0)
    assert ours.connections() == {}
    assert ours.take().index == 1
    os.kill(sitting.pid, signal.SIGCONT)
    until(lambda: 0 in ours.living(), "it beats again", 8.0)


@pytest.mark.usefixtures("lasting")
def test_who_rests_does_not_count_and_stays_on_its_seat(tmp_path: Path) -> None:
    ours = WorkerTable(tmp_path, 3)
    one, two = ours.take(), ours.take()
    one.start()
    one.rest()
    assert (ours.living(), ours.beating()) == ((two.index,), (two.index,))
    assert ours.take().index == 2


@pytest.mark.process
def test_a_process_that_ends_frees_its_seat(tmp_path: Path, sitting: subprocess.Popen[str]) -> None:
    ours = WorkerTable(tmp_path, 3)
    sitting.communicate("", timeout=30)
    assert ours.beating() == ()
    assert ours.take().index == 0


def test_registers_are_shared_and_start_at_zero(tmp_path: Path) -> None:
    one, two = registers(tmp_path / "words", 4), registers(tmp_path / "words", 4)
    assert list(one) == [0, 0, 0, 0]
    one[2] = 2**63
    assert list(two) == [0, 0, 2**63, 0]


def test_registers_take_real_room(tmp_path: Path) -> None:
    registers(tmp_path / "words", 4)
    assert (tmp_path / "words").stat().st_blocks > 0
