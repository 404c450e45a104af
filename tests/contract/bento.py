"""A Bento that was just built, once for all tests of a run."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.harness import ROOT, environment


@pytest.fixture(scope="session")
def bento(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the Bento."""
    base = tmp_path_factory.getbasetemp()
    # With several processes each has its own folder, and all of them one above.
    home = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "bento-home"
    home.mkdir(exist_ok=True)
    with (home / ".lock").open("w") as guard:
        fcntl.flock(guard, fcntl.LOCK_EX)
        built = home / "bentos" / "okawari" / "test"
        if not (home / ".built").exists():
            _build(home)
            (home / ".built").touch()
    return built


def _build(home: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "scripts.build_bento", "test", "--no-export"],
        env=environment(home, home),
        cwd=ROOT,
        check=True,
        timeout=100,
        stdout=subprocess.DEVNULL,
    )
