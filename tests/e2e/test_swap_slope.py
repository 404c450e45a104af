"""Memory stays flat over many swaps, with the heap handed back and without."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import models, pictures, remembering
from benchmarks.bring import bring
from benchmarks.serving import Service
from tests.e2e.sizes import LIMIT, SIZES

pytestmark = [pytest.mark.e2e, pytest.mark.full, pytest.mark.timeout(LIMIT)]


@pytest.mark.parametrize("prelude", ["", remembering.UNTRIMMED], ids=["trimmed", "untrimmed"])
def test_swaps_of_a_heavy_model_leave_nothing(tmp_path: Path, prelude: str) -> None:
    versions = models.heavy(tmp_path / "versions")
    home = tmp_path / "home"
    home.mkdir()
    bring(home, versions)
    with Service(home, 1, prelude=prelude, OKAWARI_GUARD_SECONDS="0") as service:
        result = remembering.measure(
            service, versions, pictures.small(None), SIZES.memory_swaps, print, trimmed=not prelude
        )
    resident = result.resident
    # A worker is a fork: it maps the pages of the master's libraries when it first comes to them.
    first = len(resident) // 4
    grown = min(resident[-5:]) - min(resident[first : first + 5])
    assert grown <= 0.05 * result.size_mb, " ".join(str(round(each)) for each in resident)
