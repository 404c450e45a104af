"""What people type: `bentoml models import`, while the service answers."""

from __future__ import annotations

import shutil
import subprocess
import time
from pathlib import Path

import pytest

from tests.e2e.harness import BIN, environment
from tests.e2e.load import Load, Readiness
from tests.e2e.reporting import Start
from tests.e2e.sizes import LIMIT
from tests.e2e.stores import Store
from tests.e2e.waiting import until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(LIMIT)]

_QUIET = 2.0


def test_plain_imports_while_serving(make_service: Start, store: Store) -> None:
    store.add("v1", 1)
    archive = store.archive("v2", 2)
    service = make_service(store.home).ready()
    with Readiness(service) as readiness, Load(service, kept=1, fresh=1) as load:
        store.bentoml("models", "import", archive)
        load.sees("v2")
        assert service.states()["v2"]["digest"]

        # A model made by BentoML alone that holds a config.json comes to rest first.
        foreign = store.scratch / "foreign"
        shutil.copytree(store.models / "m" / "v2", foreign)
        shutil.copy(store.source("v3", 3) / "weights.onnx", foreign / "weights.onnx")
        began = time.monotonic()
        _create(store, "v3", foreign)
        load.sees("v3")
        assert time.monotonic() - began >= _QUIET

        # One without is told, with the way out, and never guessed.
        (foreign / "config.json").unlink()
        _create(store, "v4", foreign)
        found = until(lambda: service.states().get("v4"), "v4 is listed")
        assert found["state"] == "unservable"
        assert "preprocessing is never guessed" in found["reason"]
        assert "okawari import" in found["reason"]
        load.sees("v3")
        assert service.target("v4").json()["error"]["code"] == "version_failed"
    assert load.failures == []
    assert load.contradictions == []
    assert readiness.flaps == []


def _create(store: Store, version: str, folder: Path) -> None:
    """Make a model by BentoML's Python interface, without any manifest of ours."""

    code = (
        "import bentoml, shutil, sys, pathlib\n"
        "with bentoml.models.create(sys.argv[1]) as model:\n"
        "    for file in pathlib.Path(sys.argv[2]).iterdir():\n"
        "        if file.name != 'model.yaml': shutil.copy(file, model.path)\n"
    )
    subprocess.run(
        [BIN / "python", "-c", code, f"m:{version}", str(folder)],
        env=environment(store.home, store.home),
        check=True,
        timeout=100,
        capture_output=True,
    )
