"""The page of a comparison in a real browser: by keyboard, on a phone, printed, and judged by axe."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from cli.main import main
from manifest.tags import ModelTag
from registry.comparison_pages import ComparisonPages
from tests.clients.conftest import PROGRAMS, home_of, run
from tests.e2e.harness import ROOT
from tests.e2e.reporting import Start, make_service
from tests.e2e.stores import Store
from tests.evaluation.truth_files import coco_of_shapes

__all__ = ["make_service"]

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

TOKEN = "the-token-of-an-operator-0001"
PICTURES = ROOT / "examples" / "shapes" / "pictures"


def _store(folder: Path) -> Store:
    """The demo detector's two versions."""
    store = Store(folder / "home", folder / "scratch")
    store.take(ROOT / "models_import" / "demo" / "shapes" / "v1")
    store.take(ROOT / "examples" / "models" / "shapes" / "v2")
    return store


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report on the demo detector's two versions."""
    folder = tmp_path_factory.mktemp("comparison")
    store = _store(folder)
    shutil.copytree(PICTURES, folder / "pictures")
    truth = folder / "instances.json"
    truth.write_text(json.dumps(coco_of_shapes(PICTURES / "truth.json")))
    words = ["compare", "shapes:v1", "shapes:v2", "--images", folder / "pictures", "--ground-truth", truth]
    environment = {"BENTOML_HOME": str(store.home), "OKAWARI_HOME": str(store.home)}
    done = CliRunner(env=environment).invoke(
        main, [str(word) for word in (*words, "--out", folder / "report")]
    )
    assert done.exit_code == 0, done.output
    return folder / "report"


@pytest.fixture(scope="module")
def seen(report: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What a browser saw."""
    program = [home_of("playwright") / "bin" / "python", PROGRAMS / "comparison.py"]
    axe = home_of("axe") / "node_modules" / "axe-core" / "axe.min.js"
    pictures = tmp_path_factory.mktemp("pictures")
    page = (report / "index.html").as_uri()
    return dict(
        json.loads(run(*program, home_of("chromium") / "bin" / "chromium", axe, page, pictures).stdout)
    )


def test_it_asks_nobody_and_has_no_errors(seen: dict[str, Any], report: Path) -> None:
    assert seen["errors"] == []
    assert seen["strict"] == []
    assert seen["requests"] == [(report / "index.html").as_uri()]


def test_axe_finds_nothing_and_nothing_is_wider_than_the_window(seen: dict[str, Any]) -> None:
    assert seen["axe"] == []
    assert seen["overflow"] == [0, 0]


def test_keys_go_through_the_pictures_and_choose_whose_boxes_are_shown(seen: dict[str, Any]) -> None:
    assert (seen["first"]["current"], seen["first"]["show"]) == (-1, "both")
    assert (seen["next"]["current"], seen["before"]["current"]) == (1, 0)
    assert seen["only_a"]["shown"] == {"a": True, "b": False}
    assert seen["only_b"]["shown"] == {"a": False, "b": True}
    assert seen["both"]["shown"] == {"a": True, "b": True}


def test_marks_are_kept_and_saved_as_expectations_and_annotations(
    seen: dict[str, Any], report: Path, tmp_path: Path
) -> None:
    assert seen["marked"]["pressed"][:3] == [["a"], ["b"], ["neither"]]
    assert seen["unmarked"]["pressed"][:3] == [["a"], ["b"], []]
    assert seen["again"]["pressed"][:3] == [["a"], ["b"], []]
    assert "A right 1, B right 1, neither 0" in seen["again"]["status"]
    assert "marked by hand: A right 1, B right 1" in seen["again"]["promote"]
    saved = seen["saved"]
    assert [each["right"] for each in saved["marks"]] == ["a", "b"]
    wrong = [note["version"] for note in saved["marks"][0]["annotations"]]
    assert set(wrong) == {"b"}
    (tmp_path / "marks.json").write_text(json.dumps(saved))
    home = report.parent / "home"
    environment = {"BENTOML_HOME": str(home), "OKAWARI_HOME": str(home)}
    done = CliRunner(env=environment).invoke(
        main, ["golden", "marks", "shapes", str(tmp_path / "marks.json")]
    )
    assert done.exit_code == 0, done.output
    assert "2 golden pictures are held" in done.stderr


def test_a_finger_marks_a_picture_too(seen: dict[str, Any]) -> None:
    assert (seen["clicked"]["current"], seen["clicked"]["pressed"][0]) == (0, ["b"])


def test_the_service_shows_it_with_a_button_that_promotes(
    report: Path, make_service: Start, tmp_path: Path
) -> None:
    # A home of its own: marks of the other one are golden pictures, which not each version passes.
    store = _store(tmp_path)
    home = store.home
    digest = json.loads((report / "comparison.json").read_text())["b"]["digest"]
    ComparisonPages(home).write(ModelTag("shapes", "v2"), digest, (report / "index.html").read_bytes())
    environment = {"BENTOML_HOME": str(home), "OKAWARI_HOME": str(home)}
    done = CliRunner(env=environment).invoke(main, ["promote", "shapes", "v1", "--yes"])
    assert done.exit_code == 0, done.output
    service = make_service(home, OKAWARI_ADMIN_TOKEN=TOKEN).ready()
    service.serves("v1", "shapes")
    url = f"{service.url}/models/shapes/versions/v2/comparison"
    program = [home_of("playwright") / "bin" / "python", PROGRAMS / "promoting.py"]
    chromium = home_of("chromium") / "bin" / "chromium"
    seen = json.loads(run(*program, chromium, url, TOKEN, tmp_path / "promoted.png").stdout)
    assert seen["errors"] == []
    assert seen["said"][1] == "shapes:v2 is production, and answers."
    service.serves("v2", "shapes")
    history = service.get("/api/v1/registry/models/shapes/history").json()["history"]
    assert "marked by hand: A right 0, B right 1, neither 0" in history[0]["reason"]
