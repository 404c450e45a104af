"""A look costs what changes, not what is kept: versions at rest are examined in turn."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from models_import import fingerprints
from models_import import store as model_store
from models_import.store import ModelStore
from models_import.version_reader import VersionReader
from tests.models_import.shop import stock
from tests.models_import.sights import model

#: Models, versions of each, and versions that are examined in turn at each look.
MODELS, VERSIONS, IN_TURN = 4, 25, 20
ROUNDS = 1 + MODELS * VERSIONS // IN_TURN


@pytest.fixture
def many(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a store that has been at rest for long."""
    monkeypatch.setattr(fingerprints, "_SAME_TICK_NS", 0)
    monkeypatch.setattr(model_store, "_IN_TURN", IN_TURN)
    stock(home, tmp_path, "m0", "v0")
    for name in range(MODELS):
        for version in range(VERSIONS):
            _copy(home / "models", f"m{name}", f"v{version}")
    return home / "models"


def _copy(models: Path, name: str, version: str) -> Path:
    """Bring another version as a copy of the first one, with its own name."""
    folder = models / name / version
    if not folder.exists():
        shutil.copytree(models / "m0/v0", folder)
        text = (folder / "model.yaml").read_text()
        text = text.replace("name: m0", f"name: {name}").replace("version: v0", f"version: {version}")
        (folder / "model.yaml").write_text(text)
    (models / name / "latest").write_text(version)
    return folder


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The folders that are examined, in order."""
    folders: list[str] = []
    original = VersionReader.read

    def counted(reader: VersionReader, name: str, version: str, folder: str, **options: bool) -> object:
        folders.append(folder)
        return original(reader, name, version, folder, **options)

    monkeypatch.setattr(VersionReader, "read", counted)
    return folders


@pytest.mark.slow
def test_in_a_round_of_looks_each_version_is_examined_once(many: Path, read: list[str]) -> None:
    store = ModelStore(many)
    store.look()
    for _ in range(3):
        read.clear()
        for _ in range(ROUNDS):
            before = len(read)
            store.look()
            assert len(read) - before <= VERSIONS
        assert sorted(read) == sorted(str(path) for path in many.glob("*/*/"))


@pytest.mark.slow
def test_an_unchanged_model_gives_the_same_object(many: Path) -> None:
    store = ModelStore(many)
    seen = model(store, "m1").versions
    assert all(model(store, "m1").versions is seen for _ in range(2 * ROUNDS))


def _added(folder: Path) -> None:
    _copy(folder.parent, folder.name, "v99")


def _removed(folder: Path) -> None:
    shutil.rmtree(folder / "v3")


def _renamed(folder: Path) -> None:
    (folder / "v3").rename(folder / "v77")


@pytest.mark.slow
@pytest.mark.parametrize("change", [_added, _removed, _renamed])
def test_what_changes_in_a_models_folder_is_seen_at_once(many: Path, change: Callable[[Path], None]) -> None:
    store = ModelStore(many)
    for _ in range(ROUNDS):
        store.look()
    for name in ("m3", "m1", "m2"):
        change(many / name)
        assert set(model(store, name).versions) == {path.name for path in (many / name).glob("*/")}


@pytest.mark.slow
def test_a_version_that_arrives_in_parts_is_seen_at_once(many: Path) -> None:
    store = ModelStore(many)
    parts = many.parent / "parts"
    (many / "m2/v9").rename(parts)
    (many / "m2/v9").mkdir()
    for _ in range(ROUNDS):
        assert model(store, "m2").versions["v9"].reason is not None
    for part in parts.iterdir():
        assert model(store, "m2").versions["v9"].reason is not None
        shutil.move(part, many / "m2/v9")
    assert model(store, "m2").versions["v9"].reason is None


@pytest.mark.slow
def test_damage_of_a_version_at_rest_is_seen_within_a_round(many: Path) -> None:
    store = ModelStore(many)
    store.look()
    (many / "m2/v9/weights.onnx").unlink()
    (many / "m2/v9/other").touch()
    seen = [model(store, "m2").versions["v9"].reason for _ in range(ROUNDS)]
    assert seen[-1] is not None


@pytest.mark.slow
def test_what_is_gone_is_forgotten(many: Path) -> None:
    store = ModelStore(many)
    store.look()
    shutil.rmtree(many / "m2")
    assert "m2" not in (store.look() or {})
    shutil.copytree(many / "m1", many / "m2")
    assert {found.reason is None for found in model(store, "m2").versions.values()} == {False}
