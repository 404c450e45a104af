"""What the reader of the store sees and settles, what it leaves out, and that it reads nothing twice."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from hotswap.repository import Artifact, Incomplete, VersionInfo
from models_import.store import ModelStore
from tests.models_import.shop import day, stock, tree
from tests.models_import.sights import V1, model


def test_an_imported_version_is_seen_and_settles(home: Path, tmp_path: Path, store: ModelStore) -> None:
    folder = stock(home, tmp_path, "code", "v1", 7, created=day(1))
    found = model(store)
    settled = store.settle(V1)
    assert (found.latest, found.pointer) == ("v1", None)
    assert isinstance(settled, Artifact)
    assert found.versions["v1"] == VersionInfo(
        "v1",
        settled.digest,
        settled.size_bytes,
        day(1),
        config=settled.config,
        measured=settled.measured,
    )
    assert (settled.path, settled.weights, settled.created) == (folder, folder / "weights.onnx", day(1))
    assert settled.config.family == "classifier"


def test_looking_and_settling_write_nothing(home: Path, tmp_path: Path, store: ModelStore) -> None:
    stock(home, tmp_path, "code", "v1")
    (home / "models/code/latest").unlink()
    before = tree(home)
    store.look()
    store.settle(V1)
    assert tree(home) == before


def test_a_store_that_is_away_is_none_and_comes_back(home: Path, tmp_path: Path, store: ModelStore) -> None:
    assert store.look() is None
    stock(home, tmp_path, "code", "v1")
    before = store.look()
    (home / "models").rename(home / "away")
    assert store.look() is None
    assert isinstance(store.settle(V1), Incomplete)
    (home / "away").rename(home / "models")
    assert store.look() == before


def test_an_empty_store_is_no_store_that_is_away(home: Path, store: ModelStore) -> None:
    (home / "models").mkdir(parents=True)
    assert store.look() == {}


def test_versions_are_never_matched_by_prefix(home: Path, tmp_path: Path, store: ModelStore) -> None:
    shutil.rmtree(stock(home, tmp_path, "code", "v1"))
    stock(home, tmp_path, "code", "v10")
    assert set(model(store).versions) == {"v10"}
    assert isinstance(store.settle(V1), Incomplete)


def test_what_can_be_no_tag_is_not_there(home: Path, tmp_path: Path, store: ModelStore) -> None:
    stock(home, tmp_path, "code", "v1")
    for name in (".staging", "UPPER", "a b", "code/.staging-v2", "code/V3", "code/-v4", "code/latest.d-"):
        (home / "models" / name).mkdir()
    (home / "models/file").touch()
    (home / "models/code/v5").touch()
    sights = store.look()
    assert sights is not None
    assert set(sights) == {"code"}
    assert set(sights["code"].versions) == {"v1"}


def test_a_settled_version_is_not_read_again(home: Path, tmp_path: Path, store: ModelStore) -> None:
    stock(home, tmp_path, "code", "v1")
    first = store.settle(V1)
    hashed = store.operations["hashed"]
    assert hashed == 3
    assert store.settle(V1) == first
    assert store.operations["hashed"] == hashed


@pytest.mark.slow
@pytest.mark.timeout(60)  # a thousand folders, on any disk
def test_unchanged_versions_are_not_parsed_again(home: Path, store: ModelStore, tmp_path: Path) -> None:
    source = stock(home, tmp_path, "code", "v0")
    for number in range(1, 300):
        folder = source.parent / f"v{number}"
        folder.mkdir()
        for name in ("README.md", "weights.onnx"):
            (folder / name).hardlink_to(source / name)
        shutil.copy(source / "config.json", folder)
        text = (source / "model.yaml").read_text().replace("version: v0", f"version: v{number}")
        (folder / "model.yaml").write_text(text)
    first = model(store)
    assert len(first.versions) == 300
    assert all(each.reason is None for each in first.versions.values())
    read = store.operations
    assert model(store) == first
    assert store.operations == read
    shutil.rmtree(source.parent / "v7")
    assert len(model(store).versions) == 299
    assert store.operations == read


def test_what_is_gone_is_forgotten(home: Path, tmp_path: Path, store: ModelStore) -> None:
    folder = stock(home, tmp_path, "code", "v1")
    store.look()
    store.settle(V1)
    shutil.rmtree(folder)
    store.look()
    parts = (store._reader._known, store._reader.yamls._known, store._reader.configs._known)
    assert not any((*parts, store._settler._hashes._known, store._settler._at_rest))
