"""An importer that is killed leaves the store as it was before, or as it is after."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from hotswap.repository import Artifact
from manifest.tags import ModelTag
from models_import.importer import STEPS
from models_import.store import ModelStore
from tests.builders import write_version
from tests.models_import.bentoml_server import BentoML
from tests.models_import.shop import bring, day, environment, stock

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]

NAMES = [name for name, _, _ in STEPS] + ["done"]


def killed_import(home: Path, path: Path, last: str) -> None:
    """Import in a process that is killed before the step `last`."""

    def at(step: str) -> None:
        if step == last:
            os.kill(os.getpid(), signal.SIGKILL)

    process = multiprocessing.get_context("fork").Process(target=bring, args=(home, path), kwargs={"at": at})
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL


def assert_sound(home: Path, store: ModelStore, bentoml: BentoML) -> dict[str, str | None]:
    """Whatever is listed is whole, BentoML agrees, and `latest` names something that is there."""
    sights = store.look()
    assert sights is not None
    listed = bentoml(home, "models", "list")
    for sight in sights.values():
        for version in sight.versions:
            assert isinstance(store.settle(ModelTag(sight.name, version)), Artifact)
            assert f"{sight.name}:{version} " in listed
    return {name: sight.latest for name, sight in sights.items()}


@pytest.mark.parametrize("step", NAMES)
def test_killed_before_any_step_of_an_update(
    home: Path, tmp_path: Path, store: ModelStore, bentoml: BentoML, step: str
) -> None:
    stock(home, tmp_path, "code", "v1", created=day(1))
    path = write_version(tmp_path, "code", "v2", 2, created=day(2))
    killed_import(home, path, step)
    found = assert_sound(home, store, bentoml)
    assert found == {"code": "v2" if NAMES.index(step) > NAMES.index("latest") else "v1"}
    bring(home, path)
    assert assert_sound(home, store, bentoml) == {"code": "v2"}
    assert [left.name for left in (home / "staging").iterdir()] == ["import.lock"]


@pytest.mark.parametrize("step", ["shelf", "publish", "latest", "clean"])
def test_killed_while_the_first_version_of_a_model_comes(
    home: Path, tmp_path: Path, store: ModelStore, bentoml: BentoML, step: str
) -> None:
    path = write_version(tmp_path, "code", "v1", 1)
    killed_import(home, path, step)
    assert_sound(home, store, bentoml)
    bring(home, path)
    assert assert_sound(home, store, bentoml) == {"code": "v1"}


def test_two_importers_of_one_model_at_once(
    home: Path, tmp_path: Path, store: ModelStore, bentoml: BentoML
) -> None:
    trees = []
    for first in (0, 1):
        trees.append(tmp_path / f"tree{first}")
        for number in range(first, 4, 2):
            write_version(trees[-1], "code", f"v{number}", number, created=day(number))
    importers = [
        subprocess.Popen(
            [sys.executable, "-m", "cli", "import", str(tree)],
            env=environment(home) | {"OKAWARI_HOME": str(home)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for tree in trees
    ]
    said = [process.communicate(timeout=100) for process in importers]
    assert [process.returncode for process in importers] == [0, 0], said
    assert assert_sound(home, store, bentoml) == {"code": "v3"}
    assert len((store.look() or {})["code"].versions) == 4
