"""The README's first swap, on a home made after the archive, with requests going on all the time."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from evaluation.average_precision import iou
from tests.e2e.harness import BIN, ROOT, Service, environment
from tests.e2e.load import Load
from tests.e2e.reporting import Start
from tests.e2e.sizes import LIMIT
from tests.e2e.waiting import until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(LIMIT)]

PICTURES = ROOT / "examples" / "shapes" / "pictures"
ARCHIVE = ROOT / "examples" / "shapes-v2.bentomodel"


def _type(home: Path, *words: str | Path) -> str:
    """Type a command as the README says it; its output."""
    done = subprocess.run(
        [BIN / words[0], *words[1:]],
        env=environment(home, home),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def _found(service: Service, file: str) -> list[dict[str, Any]]:
    """What the default model finds in a picture, of what is truly there."""
    answer = service.predict((PICTURES / file).read_bytes()).json()
    truths = json.loads((PICTURES / "truth.json").read_text())
    objects = next(each["objects"] for each in truths if each["file"] == file)
    return [
        truth
        for truth in objects
        if any(
            found["label"] == truth["label"] and iou(tuple(found["bbox"]), tuple(truth["box"])) >= 0.5
            for found in answer["detections"]
        )
    ]


def _all_found(service: Service) -> int:
    return sum(len(_found(service, path.name)) for path in sorted(PICTURES.glob("*.jpg")))


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A new home with the demo models."""
    home = tmp_path / "home"
    assert "shapes:v1" in _type(home, "okawari", "init")
    return home


def test_the_tutorial_swaps_to_better_boxes_and_back_and_fails_no_request(
    make_service: Start, home: Path
) -> None:
    service = make_service(home).ready()
    assert service.predict((PICTURES / "shapes-1117.jpg").read_bytes()).json()["model"] == "shapes"
    with Load(service, model="shapes", told=False) as load:
        load.sees("v1")
        before = _all_found(service)
        assert "imported" in _type(home, "bentoml", "models", "import", ARCHIVE)
        load.sees("v2")
        after = _all_found(service)
        _type(home, "okawari", "pin", "shapes", "v1")
        assert service.version("shapes") == "v1", "pin waits until the swap is done"
        _type(home, "okawari", "follow", "shapes", "latest")
        assert service.version("shapes") == "v2"
    assert load.failures == []
    assert after > before
    assert "serving" in _type(home, "okawari", "models")


def test_after_a_restart_the_first_answer_is_the_targets(make_service: Start, home: Path) -> None:
    service = make_service(home).ready()
    _type(home, "okawari", "import", ROOT / "examples" / "models")
    service.serves("v2", "shapes")
    _type(home, "okawari", "pin", "shapes", "v1")
    assert service.stop() == 0
    again = make_service(home)
    again.launch()
    first = until(lambda: _answer(again), "a first answer")
    assert first["model_version"] == "v1"
    assert again.version("exposure") == "v1"


def _answer(service: Service) -> dict[str, Any] | None:
    """The first answer of a service that is just starting."""
    states = service.workers()
    if not states or states[0].port is None:
        return None
    service.port = states[0].port
    answer = service.predict((PICTURES / "shapes-1117.jpg").read_bytes())
    assert answer.status_code == 200, answer.text
    return dict(answer.json())
