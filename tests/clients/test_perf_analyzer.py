"""perf_analyzer, the usual load generator: it reads metadata and config, then asks as fast as it can."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from tests.clients.conftest import Served, home_of, run

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

REQUESTS = 200


@pytest.mark.parametrize("wire", ["http"])
def test_perf_analyzer_measures_the_service(served: Served, tmp_path: Path, wire: str) -> None:
    home = home_of("perf_analyzer")
    table = tmp_path / "figures.csv"
    words = ["-m", "m", "-i", wire, "-u", served.at(wire), "--shape", "image:1,3,32,32"]
    bounds = ["--concurrency-range", "2", "--request-count", str(REQUESTS), "-f", table, "--verbose-csv"]
    libraries = {"LD_LIBRARY_PATH": (home / "library-path").read_text()}
    told = run(home / "bin" / "perf_analyzer", *words, *bounds, env=libraries).stdout
    assert "Failed" not in told
    with table.open() as file:
        (row,) = csv.DictReader(file)
    assert float(row["Inferences/Second"]) > 10
