"""`okawari golden` and `okawari gate` on a store without a service."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from cli.main import main
from hotswap.repository import Artifact
from manifest.tags import ModelTag
from models_import.store import ModelStore
from registry.signatures import SignatureFiles, SignatureRequirement
from tests.e2e.pictures import picture
from tests.e2e.stores import Store
from tests.support.bad_versions import key_pair


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
    found = json.loads(run("gate", "m", "v1", "--json").output)
    assert (found["result"], found["served"], found["verdicts"]) == (None, False, {})
    assert "next start" in run("gate", "m", "v1", "--again").output
    assert run("gate", "m", "v9").exit_code == 1


@pytest.mark.parametrize(
    ("document", "label", "bbox"),
    [
        ([{"label": "cat", "bbox": [0.1, 0.2, 0.6, 0.9]}], "cat", [0.1, 0.2, 0.6, 0.9]),
        ({"detections": [{"label": "cat", "label_id": 3, "score": 0.7, "bbox": None}]}, "cat", None),
    ],
)
def test_a_person_says_what_is_expected(
    held: Store, tmp_path: Path, document: object, label: str, bbox: object
) -> None:
    (tmp_path / "a.json").write_text(json.dumps(document))
    assert run("golden", "add", "m", tmp_path / "a.jpg", "--expected", tmp_path / "a.json").exit_code == 0
    (golden,) = json.loads(run("golden", "list", "m", "--json").output)
    (expected,) = golden["expected"]
    assert (expected["label"], expected["bbox"]) == (label, bbox)


def test_a_picture_may_be_held_without_expectations(held: Store, tmp_path: Path) -> None:
    assert run("golden", "add", "m", tmp_path / "a.jpg").exit_code == 0
    (golden,) = json.loads(run("golden", "list", "m", "--json").output)
    assert golden["expected"] is None
    assert "any findings" in run("golden", "list", "m").output
    assert run("golden", "add", "m", tmp_path / "text.jpg").exit_code == 1
    assert run("golden", "add", "absent", tmp_path / "a.jpg").exit_code == 1


@pytest.mark.parametrize(
    "text", ["{", "3", "{}", '[{"label": 3}]', '["cat"]', '[{"label":"a","bbox":[2,0,1,1]}]']
)
def test_what_says_nothing_is_refused(held: Store, tmp_path: Path, text: str) -> None:
    (tmp_path / "a.json").write_text(text)
    done = run("golden", "add", "m", tmp_path / "a.jpg", "--expected", tmp_path / "a.json")
    assert (done.exit_code, "a.json" in done.output) == (1, True)


def test_a_version_is_signed_with_a_key(held: Store, tmp_path: Path) -> None:
    key, public = key_pair(tmp_path, "release")
    done = run("sign", "m", "v1", "--key", key)
    assert done.exit_code == 0, done.output
    artifact = ModelStore(held.models).settle(ModelTag("m", "v1"))
    assert isinstance(artifact, Artifact)
    required = SignatureRequirement([public], SignatureFiles(held.home))
    assert required.judge(artifact).reason == "signed with the key of release.pub"
    assert run("sign", "m", "v1", "--key", public).exit_code == 1


def test_a_person_refuses_a_version_with_a_reason(held: Store) -> None:
    done = run("gate", "m", "v1", "--refuse", "misses cars at night")
    assert (done.exit_code, "refused from the next start" in done.output) == (0, True), done.output
    done = run("gate", "m", "v1")
    assert (done.exit_code, "guard: fail: refused by " in done.output) == (1, True)
    assert "misses cars at night" in done.output
    assert run("gate", "m", "v1", "--refuse", "no", "--again").exit_code == 2
    assert run("gate", "m", "v1", "--allow", "guard").exit_code == 0
    assert run("gate", "m", "v1").exit_code == 0
