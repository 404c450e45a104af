"""Every metric, with a sample each, held to Prometheus' own rules for names, units and help texts."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest

from tests.support.prometheus import ROOT, promtool

pytestmark = [pytest.mark.process, pytest.mark.timeout(120)]

#: What the rules do not like and stays, with the reason.
EXCEPTIONS = {
    "storage_bytes_total": "the detection server's contract names this gauge; storage_used_bytes is the same",
}
_FILL = """
import pathlib, sys
from telemetry.observers import Metrics
metrics = Metrics(pathlib.Path(sys.argv[1]), {"version": "1", "python": "3"})
for metric in vars(metrics).values():
    if hasattr(metric, "_labelnames"):
        child = metric.labels(*metric._labelnames) if metric._labelnames else metric
        next(getattr(child, do) for do in ("observe", "set", "inc") if hasattr(child, do))(1)
sys.stdout.buffer.write(metrics.exposition())
"""


@pytest.fixture(scope="module")
def exposition(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The text of /metrics of a worker that has counted everything once."""
    folder = tmp_path_factory.mktemp("metrics")
    environment = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(folder)}
    command = [sys.executable, "-c", _FILL, str(folder)]
    done = subprocess.run(command, env=environment, check=True, capture_output=True, timeout=60)
    return done.stdout


def test_the_metrics_keep_the_rules_but_for_names_that_contracts_fix(exposition: bytes) -> None:
    told = promtool("check", "metrics", stdin=exposition).stdout.decode().splitlines()
    assert {line.split()[0]: line for line in told if line}.keys() == EXCEPTIONS.keys(), "\n".join(told)


def test_every_documented_metric_was_looked_at(exposition: bytes) -> None:
    shown = set(re.findall(r"^# TYPE (\S+)", exposition.decode(), re.MULTILINE))
    chapter = (ROOT / "docs" / "08-crosscutting-concepts.md").read_text()
    documented = set(re.findall(r"^\| `(\w+)` \| (?:counter|gauge|histogram) \|", chapter, re.MULTILINE))
    assert documented - shown <= {"gpu_memory_bytes"}, "it needs a GPU"
    assert shown <= documented
