"""The page about a family of one's own, command by command, and its model swapped under load.

The package is installed into a folder of the test: `.venv/bin/pip` obeys PIP_TARGET, Python PYTHONPATH.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.e2e.harness import BIN, ROOT, Service, environment
from tests.e2e.load import Ask, Load
from tests.e2e.reporting import Start
from tests.e2e.sizes import LIMIT, SIZES
from tests.e2e.waiting import until
from tests.runners.pictures import encode

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(3 * LIMIT)]

PAGE = ROOT / "docs/guides/own-family.md"
#: A start of its own: a fork of a process that runs already would not read PYTHONPATH.
START = ["/usr/bin/env"]
#: The scores of each version on a white picture.
GAINS = {0.5: "v1", 1.0: "v2"}


def commands() -> list[str]:
    """The commands of the page, in their order."""
    blocks = re.findall(r"```console\n(.*?)```", PAGE.read_text(), re.DOTALL)
    return [line.removeprefix("$ ") for block in blocks for line in block.splitlines()]


@dataclass(frozen=True)
class Clone:
    """A clone in which the page is followed; its environment is that of the tests."""

    folder: Path

    @property
    def more(self) -> dict[str, str]:
        """Where the package goes, without any network."""
        site = str(self.folder / "site")
        return {
            "PIP_TARGET": site,
            "PYTHONPATH": site,
            "PIP_NO_INDEX": "1",
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        }

    def type(self, command: str, **more: str) -> str:
        """Type a command; what it says."""
        home = self.folder / "home"
        done = subprocess.run(
            ["/bin/sh", "-c", command],
            env=environment(home, home, **self.more, **more),
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=LIMIT,
            check=False,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
        return done.stdout + done.stderr


@pytest.fixture
def clone(tmp_path: Path) -> Clone:
    """The files that the page uses."""
    built = shutil.ignore_patterns("build", "*.egg-info", "__pycache__")
    shutil.copytree(ROOT / "examples/family", tmp_path / "examples/family", ignore=built)
    shutil.copytree(ROOT / "examples/shapes/pictures", tmp_path / "examples/shapes/pictures")
    (tmp_path / ".venv").symlink_to(BIN.parent)
    return Clone(tmp_path)


def _tells(document: dict[str, Any]) -> str | None:
    (found,) = document["detections"]
    assert (found["label"], found["bbox"]) == ("bright", [0, 0, 0.125, 0.125])
    return GAINS.get(round(found["score"], 3))


WHITE = Ask(encode(np.full((64, 64, 3), 255, np.uint8), "PNG"), {}, _tells)


def test_the_page_is_followed_and_its_model_swapped_under_load(clone: Clone, make_service: Start) -> None:
    page = iter(commands())
    assert next(page) == "make dev"
    said: dict[str, str] = {}
    for command in page:
        if command == "make run":
            break
        said[command] = clone.type(command)
    assert re.search(r"spots .* \(heat-spots 1.0\)", said[".venv/bin/okawari families"])
    assert "7 passed" in said[".venv/bin/python -m pytest examples/family"]
    schema = json.loads(clone.type(".venv/bin/okawari schema"))
    assert "spots" in schema["properties"]["family"]["enum"]
    service: Service = make_service(clone.folder / "home", through=START, **clone.more).ready()
    asked = next(page)
    answer = json.loads(clone.type(asked))
    assert {found["label"] for found in answer["detections"]} <= {"bright", "dark"}
    with Load(service, model="spots", asks=[WHITE]) as load:
        load.sees("v1")
        for command in page:
            said[command] = clone.type(command)
        load.sees("v2")
        load.reach(max(2000, SIZES.requests))
    assert "v2" in said[".venv/bin/okawari models"]
    assert load.failures == []
    assert load.contradictions == []
    assert {shot.claimed for shot in load.shots} == {"v1", "v2"}
    print(f"{len(load.shots)} requests, none failed")
    # Without the package the model is refused, and says why; everything else serves.
    service.stop()
    shutil.rmtree(clone.folder / "site")
    alone = make_service(clone.folder / "home", through=START, **clone.more).start()
    reason = until(lambda: alone.states("spots")["v2"]["reason"], "v2 is refused")
    assert "family: allowed are" in reason


def test_packages_that_cannot_be_used_are_told_and_the_rest_serves(clone: Clone, make_service: Start) -> None:
    clone.type(".venv/bin/pip install --no-deps --no-build-isolation examples/family")
    clone.type(".venv/bin/python examples/family/make_model.py build/spots/1 0.5")
    clone.type(".venv/bin/okawari import build/spots/1")
    clone.type(
        ".venv/bin/python examples/family/make_model.py build/broken/1 && "
        "sed -i s/spots/broken/ build/broken/1/config.json"
    )
    info = clone.folder / "site" / "strange-0.3.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: strange\nVersion: 0.3\n")
    points = "[okawari.families]\nbroken = no_such_module:Broken\nclip = heat_spots:Spots\n"
    (info / "entry_points.txt").write_text(points)
    said = clone.type(".venv/bin/okawari families")
    assert (
        "warning: family 'broken' of strange 0.3 cannot be used: no_such_module:Broken: ModuleNotFound"
        in said
    )
    assert "warning: family 'clip' of strange 0.3 cannot be used: Okawari has a family of that name" in said
    with pytest.raises(AssertionError, match=r"family 'broken' of strange 0\.3 cannot be used"):
        clone.type(".venv/bin/okawari import build/broken/1")
    service = make_service(clone.folder / "home", through=START, **clone.more).ready()
    assert service.predict(WHITE.picture, model="spots").status_code == 200
    assert any("family 'broken' of strange 0.3" in line for line in service.lines())
