"""Removing versions: `latest` never names what is gone."""

from __future__ import annotations

from pathlib import Path

import pytest

from manifest.tags import ModelTag
from models_import.errors import ImportRefused
from models_import.remover import remove
from models_import.store import ModelStore
from tests.models_import.shop import day, stock


def tag(version: str) -> ModelTag:
    return ModelTag("code", version)


@pytest.fixture
def versions(home: Path, tmp_path: Path) -> Path:
    for number in (1, 2, 3):
        stock(home, tmp_path, "code", f"v{number}", number, created=day(number))
    return home / "models/code"


def test_removing_the_newest_moves_latest_to_the_next(versions: Path, home: Path) -> None:
    assert remove(home, tag("v3")) == "v2"
    assert (versions / "latest").read_text() == "v2"
    assert not (versions / "v3").exists()


def test_removing_an_older_one_leaves_latest(versions: Path, home: Path) -> None:
    assert remove(home, tag("v1")) == "v3"


def test_latest_moves_before_the_files_go(
    versions: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    real = Path.rename

    def rename(self: Path, target: Path) -> Path:
        seen.append((self.name, (versions / "latest").read_text()))
        return real(self, target)

    monkeypatch.setattr(Path, "rename", rename)
    remove(home, tag("v3"))
    assert seen == [("latest", "v3"), ("v3", "v2")]


def test_the_last_one_takes_the_model_with_it(versions: Path, home: Path, store: ModelStore) -> None:
    for version, latest in (("v3", "v2"), ("v2", "v1"), ("v1", None)):
        assert remove(home, tag(version)) == latest
    assert store.look() == {}
    assert [left.name for left in (home / "staging").iterdir()] == ["import.lock"]


def test_a_half_copied_one_goes_too(versions: Path, home: Path) -> None:
    (versions / "v4").mkdir()
    assert remove(home, tag("v4")) == "v3"
    assert not (versions / "v4").exists()


@pytest.mark.parametrize("version", ["v", "v33", "v4"])
def test_what_is_not_there_is_refused(versions: Path, home: Path, version: str) -> None:
    with pytest.raises(ImportRefused, match="is not in"):
        remove(home, tag(version))
