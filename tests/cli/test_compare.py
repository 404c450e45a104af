"""`okawari compare` on the demo models and pictures; promotion by its report; marks as golden pictures."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

import cli.compare_command
from cli.main import main
from evaluation.answers import PairedAnswer, PairedRunners, SharedPicture
from tests.e2e.harness import ROOT
from tests.e2e.stores import Store
from tests.evaluation.truth_files import coco_of_shapes

PICTURES = ROOT / "examples" / "shapes" / "pictures"
V1, V2 = "shapes:v1", "shapes:v2"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home with two versions of the demo detector and one classifier, and a folder of pictures."""
    monkeypatch.setenv("BENTOML_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("OKAWARI_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    store = Store(tmp_path / "home", tmp_path / "scratch")
    store.take(ROOT / "models_import" / "demo" / "shapes" / "v1")
    store.take(ROOT / "examples" / "models" / "shapes" / "v2")
    store.add("v1", 1)
    shutil.copytree(PICTURES, tmp_path / "pictures")
    (tmp_path / "instances.json").write_text(json.dumps(coco_of_shapes(PICTURES / "truth.json")))
    return tmp_path


def run(*words: str | Path, exit_code: int = 0) -> Result:
    done = CliRunner().invoke(main, [str(word) for word in words])
    assert done.exit_code == exit_code, done.output
    return done


def document(home: Path, folder: str = "report") -> dict[str, Any]:
    return dict(json.loads((home / folder / "comparison.json").read_bytes()))


def compare(*words: str | Path, exit_code: int = 0) -> Result:
    return run("compare", V1, V2, "--images", "pictures", *words, exit_code=exit_code)


def test_two_versions_are_compared_with_the_truth(home: Path) -> None:
    done = compare("--ground-truth", "instances.json")
    found = document(home)
    assert done.stdout.startswith(f"{found['verdict']['result']}: ")
    assert "report/index.html" in done.stdout
    assert (found["pictures"]["compared"], found["pictures"]["with_truth"]) == (6, 6)
    assert found["b"]["measures"]["ap50"] > 0.7
    assert found["a"]["measures"]["memory_mb"] is not None
    assert found["a"]["digest"] != found["b"]["digest"]
    page = (home / "report" / "index.html").read_text()
    assert page.count("<article") == found["pictures"]["changed"] > 0
    assert "truth.json" not in done.stdout


def test_the_same_as_json_and_without_truth(home: Path) -> None:
    printed = json.loads(compare("--json").stdout)
    assert printed == document(home)
    assert printed["pictures"]["with_truth"] == 0
    assert 0 < printed["agreement"]["agreement"] <= 1


def test_a_version_against_itself_shows_no_difference(home: Path) -> None:
    run("compare", V2, V2, "--images", "pictures", "--ground-truth", "instances.json")
    found = document(home)
    assert found["verdict"]["result"] == "no clear difference"
    assert found["transitions"]["pictures"] == []
    assert found["a"]["measures"]["ap50"] == found["b"]["measures"]["ap50"]


def test_after_an_end_it_goes_on_where_it_was(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    ask = PairedRunners.ask

    def stops(self: PairedRunners, picture: SharedPicture) -> PairedAnswer:
        asked.append(picture.name)
        if len(set(asked)) == 4:
            raise KeyboardInterrupt
        return ask(self, picture)

    monkeypatch.setattr(PairedRunners, "ask", stops)
    ended = compare(exit_code=1)
    assert "the same command goes on" in ended.output
    first = set(asked[:-1])
    assert len(first) == 3
    assert not (home / "report" / "comparison.json").exists()
    asked.clear()

    def notes(self: PairedRunners, picture: SharedPicture) -> PairedAnswer:
        asked.append(picture.name)
        return ask(self, picture)

    monkeypatch.setattr(PairedRunners, "ask", notes)
    assert "going on" in compare().output
    assert len(set(asked)) == 3
    assert not first & set(asked)
    assert document(home)["pictures"]["compared"] == 6
    asked.clear()
    compare()
    assert asked == []
    compare("--threshold", "0.9")
    assert len(set(asked)) == 6, "another question"


def test_what_cannot_be_read_is_counted(home: Path) -> None:
    (home / "pictures" / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 cut")
    done = compare()
    assert "broken.jpg" in done.stderr
    assert document(home)["pictures"]["unreadable"] == 1


@pytest.mark.parametrize(
    ("words", "said", "code"),
    [
        ((V1, "m:v1"), "only versions of one task", 1),
        ((V1, "shapes:v9"), "versions: v1, v2", 1),
        ((V1, "other:v1"), "no model 'other'", 1),
        ((V1, "shapes"), "NAME:VERSION", 2),
    ],
)
def test_what_cannot_be_compared_is_refused(home: Path, words: Sequence[str], said: str, code: int) -> None:
    assert said in run("compare", *words, "--images", "pictures", exit_code=code).output
    (home / "empty").mkdir()
    assert "no pictures" in run("compare", V1, V2, "--images", "empty", exit_code=1).output


def test_too_many_pictures_are_refused(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli.compare_command, "_MOST_PICTURES", 5)
    assert "at most 5" in compare(exit_code=1).output


class TestPromotion:
    def test_a_rule_that_holds_lets_it_through_and_one_that_does_not_stops_it(self, home: Path) -> None:
        run("promote", "shapes", "v1", "--yes")
        promote = ("promote", "shapes", "v2", "--yes", "--require")
        assert "report" in run(*promote, "ap50>=current", exit_code=1).output, "there is no report yet"
        compare("--ground-truth", "instances.json", "--out", "out")
        measures = {side: document(home, "out")[side]["measures"] for side in ("a", "b")}
        refused = run(*promote, "ap50>=1.1", "--report", "out", exit_code=1)
        assert f"ap50 is {measures['b']['ap50']:g}" in refused.output
        assert "must" not in run("registry", "list", "shapes").output
        done = run(*promote, "ap50>=current-0.5", "--report", "out/comparison.json")
        assert f"shapes:v1 has {measures['a']['ap50']:g}" in done.stderr
        assert "shapes:v2 is production" in done.stdout

    def test_a_rule_is_about_these_files_and_what_is_production_now(self, home: Path) -> None:
        run("compare", V2, V2, "--images", "pictures", "--ground-truth", "instances.json")
        assert (
            "not the files"
            in run("promote", "shapes", "v1", "--yes", "--require", "ap50>=0.1", exit_code=1).output
        )
        words = ("promote", "shapes", "v2", "--yes", "--require")
        assert "production now" in run(*words, "ap50>=current", exit_code=1).output
        assert "allowed are" in run(*words, "beauty>=1", exit_code=2).output


class TestMarks:
    def _marks(self, home: Path, **changes: Any) -> Path:
        compare()
        (first, *_) = document(home)["transitions"]["pictures"]
        mark = {
            "picture": first["picture"],
            "sha256": first["sha256"],
            "right": "b",
            "expected": [{"label": "star", "bbox": [0.1, 0.1, 0.4, 0.4], "score": 0.8}],
        }
        neither = {"picture": "other.jpg", "sha256": "0" * 64, "right": "neither"}
        file = home / "marks.json"
        file.write_text(json.dumps({"format": 1, "folder": "pictures", "marks": [mark | changes, neither]}))
        return file

    def test_marked_pictures_become_golden_pictures(self, home: Path) -> None:
        done = run("golden", "marks", "shapes", self._marks(home))
        assert "1 findings are expected" in done.stdout
        (golden,) = json.loads(run("golden", "list", "shapes", "--json").stdout)
        assert golden["expected"][0]["label"] == "star"

    @pytest.mark.parametrize(
        ("changes", "said"),
        [
            ({"sha256": "1" * 64}, "not the picture that was compared"),
            ({"picture": "../instances.json"}, "outside the folder"),
            ({"picture": "gone.jpg"}, "left out"),
            ({"right": "neither"}, "marks no picture"),
        ],
    )
    def test_only_what_was_compared_is_held(self, home: Path, changes: dict[str, str], said: str) -> None:
        assert said in run("golden", "marks", "shapes", self._marks(home, **changes), exit_code=1).output
        assert json.loads(run("golden", "list", "shapes", "--json").stdout) == []

    def test_other_files_and_models_are_refused(self, home: Path) -> None:
        (home / "other.json").write_text("{}")
        assert "page of a comparison" in run("golden", "marks", "shapes", "other.json", exit_code=1).output
        assert "no model" in run("golden", "marks", "other", self._marks(home), exit_code=1).output
