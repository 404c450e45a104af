"""Imports give way to whoever answers requests on the same machine."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from models_import.subprocesses import child_environment, run_module

#: Each starts a process; on a busy machine that alone takes seconds.
pytestmark = [pytest.mark.process, pytest.mark.timeout(60)]

_TELL = "import os; print(os.nice(0), *open('/proc/self/autogroup').read().split()[-1:])"


def _told(folder: Path, **options: bool) -> list[int]:
    """Priority and session priority of a child that gave way; the system's own session has no priority."""
    (folder / "tell.py").write_text(_TELL)
    done = subprocess.run(
        [sys.executable, "-m", "models_import.subprocesses", "tell"],
        env=child_environment(),
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
        **options,
    )
    return [int(word) for word in done.stdout.split()]


@pytest.mark.skipif(not Path("/proc/self/autogroup").exists(), reason="a system without sessions that share")
def test_a_child_gives_way_and_lowers_only_a_session_of_its_own(tmp_path: Path) -> None:
    before = Path("/proc/self/autogroup").read_text()
    low = min(os.nice(0) + 10, 19)
    assert _told(tmp_path, start_new_session=True) == [low, 10]
    assert _told(tmp_path)[0] == low
    assert Path("/proc/self/autogroup").read_text() == before


def test_a_module_that_gives_way_is_run_as_itself() -> None:
    done = run_module("models_import.probe")
    assert done.returncode != 0
    assert b"Task" in done.stderr
