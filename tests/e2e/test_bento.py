"""The built Bento, served as its container does it, on a store that changes under it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import psutil
import pytest
import yaml

from tests.contract.bento import bento
from tests.e2e.harness import environment
from tests.e2e.load import Load
from tests.e2e.reporting import Start
from tests.e2e.sizes import LIMIT
from tests.e2e.stores import Store

__all__ = ["bento"]

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(LIMIT)]


def test_the_bento_lists_no_models_and_holds_what_serves(bento: Path) -> None:
    described = yaml.safe_load((bento / "bento.yaml").read_text())
    assert described["models"] == []
    assert all(service["models"] == [] for service in described["services"])
    source = bento / "src"
    assert not (bento / "models").exists()
    for part in (
        "service.py",
        "bootstrap.py",
        "cli/__main__.py",
        "models_import/demo/shapes/v1/weights.onnx",
    ):
        assert (source / part).is_file(), part
    assert not list(source.rglob("tests"))


def test_the_served_bento_swaps_under_load(bento: Path, make_service: Start, store: Store) -> None:
    store.add("v1", 1)
    service = make_service(store.home, serve=str(bento), WORKERS="1").ready()
    assert psutil.Process(service.worker()).cwd() == str(bento / "src")
    with Load(service) as load:
        load.sees("v1")
        store.bentoml("models", "import", store.archive("v2", 2))
        load.sees("v2")
    assert load.failures == []
    assert load.contradictions == []


def test_the_command_line_of_the_bento_does_what_okawari_does(bento: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    done = subprocess.run(
        [sys.executable, "-m", "cli", "init"],
        env=environment(home, home),
        cwd=bento / "src",
        capture_output=True,
        text=True,
        check=True,
        timeout=100,
    )
    assert "shapes:v1" in done.stdout
    assert (home / "models" / "shapes" / "v1" / "model.yaml").is_file()
