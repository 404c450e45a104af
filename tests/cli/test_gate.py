"""`okawari golden` and `okawari gate` on a store without a service."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from cli.main import main
from tests.e2e.pictures import picture
from tests.e2e.stores import Store


@pytest.fixture
def held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """A home with one version."""
    monkeypatch.setenv("BENTOML_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("OKAWARI_HOME", str(tmp_path / "home"))
    store = Store(tmp_path / "home", tmp_path)
    store.add("v1", 1)
    (tmp_path / "a.jpg").write_bytes(picture())
    (tmp_path / "text.jpg").write_bytes(b"no picture")
    return store


def run(*words: str | Path) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words])


def test_what_a_trusted_version_finds_is_expected(held: Store, tmp_path: Path) -> None:
    assert run("golden", "record", "m", "v1", tmp_path / "a.jpg").exit_code == 0
    (golden,) = json.loads(run("golden", "list", "m", "--json").output)
    (expected,) = golden["expected"]
    assert (expected["label"], expected["bbox"]) == ("code", None)
    assert expected["score"] == pytest.approx(0.5002, abs=1e-4)
    assert run("golden", "remove", "m", golden["file"]).exit_code == 0
    assert json.loads(run("golden", "list", "m", "--json").output) == []
    assert run("golden", "remove", "m", golden["file"]).exit_code == 1


def test_what_is_no_picture_is_not_held(held: Store, tmp_path: Path) -> None:
    done = run("golden", "record", "m", "v1", tmp_path / "text.jpg")
    assert done.exit_code == 1
    assert "text.jpg" in done.output


def test_a_version_that_was_not_judged_says_so(held: Store) -> None:
    assert json.loads(run("gate", "m", "v1", "--json").output) == {"verdict": None, "served": False}
    assert "next start" in run("gate", "m", "v1", "--again").output
    assert run("gate", "m", "v9").exit_code == 1
