"""`okawari soak`, as an operator runs it, for a quarter of a minute."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tests.e2e.harness import BIN, environment
from tests.e2e.sizes import LIMIT

pytestmark = [pytest.mark.e2e, pytest.mark.full, pytest.mark.timeout(max(LIMIT, 240))]


def test_a_short_run_is_recorded_and_holds(tmp_path: Path) -> None:
    disturbed = ("--import-every", "5", "--switch-every", "1", "--kill-every", "6", "--rate", "10")
    done = subprocess.run(
        [BIN / "okawari", "soak", "--hours", "0.004", *disturbed, "--out", tmp_path / "out", "--json"],
        env=environment(tmp_path, tmp_path),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=220,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    sums = json.loads(done.stdout)
    assert sums["answered"] > 30
    assert sums["kills"] > 0
    assert sums["swaps"] > 0
    assert sums["evictions"] > 0
    assert (sums["failed"], sums["contradictions"]) == ({}, 0)
    (piece,) = json.loads((tmp_path / "out" / "soak.json").read_text())["pieces"]
    assert piece["problems"] == []
    assert piece["samples"][-1]["workers"] == 2
    assert (tmp_path / "out" / "soak.svg").read_text().startswith("<svg")
