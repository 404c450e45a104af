"""`predict` against the real service: what it tells, and what it saves."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from cli.client import PredictClient
from runners.drawing.palette import colour_of
from tests.cli.conftest import Okawari
from tests.cli.test_main import on_a_terminal
from tests.e2e.harness import ROOT
from tests.e2e.harness import Service as Running
from tests.e2e.pictures import picture
from tests.e2e.reporting import services
from tests.e2e.sizes import LIMIT
from tests.e2e.stores import Store

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(LIMIT)]

SHAPES = sorted((ROOT / "examples/shapes/pictures").glob("*.jpg"))


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("predict")
    store = Store(folder / "home", folder)
    store.take(ROOT / "examples/models/shapes/v2")
    store.add("v1", 1)
    store.add("v2", 2)
    with contextmanager(services)() as make:
        yield make(store.home).ready()


@pytest.fixture
def photos(running: Running, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Pictures to ask about, and the command line at the home of the service."""
    monkeypatch.setenv("BENTOML_HOME", str(running.home))
    folder = tmp_path / "photos"
    folder.mkdir()
    for file in SHAPES[:3]:
        shutil.copy(file, folder)
    return folder


def test_a_table_tells_what_was_found(okawari: Okawari, running: Running, photos: Path) -> None:
    lines = okawari("predict", photos).stdout.splitlines()
    assert lines[0].split() == ["FILE", "FOUND", "BEST", "MODEL", "MS"]
    assert len(lines) == 4
    for line, file in zip(lines[1:], SHAPES, strict=False):
        found = running.predict(file.read_bytes(), model="shapes").json()["detections"]
        words = line.split()
        assert words[0].endswith(file.name)
        assert int(words[1]) == len(found)
        assert f"{found[0]['label']} {found[0]['score']:.2f}" in line
        assert "shapes:v2" in words


def test_json_is_one_line_a_file_as_the_service_answered(
    okawari: Okawari, running: Running, photos: Path
) -> None:
    done = okawari("predict", photos, "--json", "--threshold", "0.3", "--max-detections", "2")
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [Path(line["file"]).name for line in lines] == [file.name for file in SHAPES[:3]]
    for line, file in zip(lines, SHAPES, strict=False):
        told = running.predict(file.read_bytes(), threshold="0.3", max_detections=2).json()
        assert line["detections"] == told["detections"]
        assert (line["model"], line["model_version"]) == ("shapes", "v2")


def test_pictures_are_saved_with_what_was_found(okawari: Okawari, photos: Path, tmp_path: Path) -> None:
    before = {file.name: file.read_bytes() for file in photos.iterdir()}
    for _ in range(2):  # what an earlier call has saved is replaced, and not asked about
        done = okawari("predict", ".", "--save", photos / "seen", "--format", "png", "--json")
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert {Path(line["saved"]).name for line in lines} == {
        f"{Path(name).stem}.annotated.png" for name in before
    }
    for line in lines:
        after = np.asarray(Image.open(line["saved"]))
        height, width, _ = after.shape
        assert (width, height) == (line["image"]["width"], line["image"]["height"])
        first = line["detections"][0]
        left, top, _, bottom = first["bbox"]
        edge = after[round(top * height) : round(bottom * height), round(left * width)]
        assert (edge == colour_of(first["label"])).all(axis=1).mean() > 0.5
    assert len(list((photos / "seen").iterdir())) == len(before)
    assert {file.name: file.read_bytes() for file in photos.iterdir() if file.is_file()} == before


def test_one_that_fails_is_told_and_the_others_are_answered(
    okawari: Okawari, photos: Path, tmp_path: Path
) -> None:
    (photos / "broken.jpg").write_bytes(SHAPES[0].read_bytes()[:2000])
    seen = tmp_path / "seen"
    done = okawari("predict", photos, photos / "gone.jpg", "--save", seen, exit_code=1)
    assert len(done.stdout.splitlines()) == 4
    broken, gone = [line for line in done.stderr.splitlines() if line.startswith("okawari: ")]
    assert "broken.jpg: the JPEG" in broken
    assert gone == f"okawari: {photos / 'gone.jpg'}: file not found"
    assert len(list(seen.iterdir())) == 3
    told = okawari("predict", photos / "broken.jpg", "--json", exit_code=1).stdout
    assert json.loads(told)["error"]["code"] == "invalid_image"


def test_what_the_service_refuses_is_the_reason(okawari: Okawari, photos: Path) -> None:
    text = okawari("predict", SHAPES[0], "--model", "nobody", exit_code=1).stderr
    assert "there is no model 'nobody'" in text


def test_a_service_elsewhere_is_named_by_its_url(okawari: Okawari, running: Running, home: Path) -> None:
    running.target("v2").raise_for_status()
    asked = ("--url", running.url, "--model", "m", "--version", "2")
    assert "code 0.50" in okawari("predict", SHAPES[0], *asked).stdout


def test_answer_and_picture_are_of_one_version_though_a_swap_comes_between(
    running: Running, tmp_path: Path
) -> None:
    running.target("v2").raise_for_status()
    data = picture(size=(160, 120))
    (tmp_path / "x.jpg").write_bytes(data)
    asked: list[str] = []

    def swap(request: httpx.Request) -> None:
        asked.append(request.url.path)
        if len(asked) == 2:
            running.target("v1").raise_for_status()

    hooks: dict[str, list[Any]] = {"request": [swap]}
    with httpx.Client(base_url=running.url, event_hooks=hooks, trust_env=False, timeout=60) as client:
        outcome = PredictClient(client, {"model": "m", "threshold": "0"}, "image/png").predict(
            tmp_path / "x.jpg", tmp_path / "x.png"
        )
    assert outcome.answer is not None
    assert outcome.answer["model_version"] == "v1"
    assert asked == ["/predict", "/predict/annotated"] * 2
    drawn = running.client.post(
        "/predict/annotated",
        params={"model": "m", "version": "v1", "threshold": 0},
        content=data,
        headers={"content-type": "image/jpeg", "accept": "image/png"},
    )
    assert (tmp_path / "x.png").read_bytes() == drawn.content


def test_a_terminal_sees_a_bar(running: Running, photos: Path) -> None:
    shown = on_a_terminal("predict", str(photos), home=running.home)
    assert "predicting" in shown
    assert "3/3" in shown
    assert "shapes:v2" in shown


def test_what_is_passed_over_is_told_at_the_end_and_changes_no_exit(okawari: Okawari, photos: Path) -> None:
    (photos / "notes.txt").write_text("no picture")
    shutil.copy(SHAPES[0], photos / "b.jfif")
    done = okawari("predict", photos)
    assert "b.jfif" in done.stdout
    assert done.stderr.splitlines()[-1] == "skipped 1 file: notes.txt (not a picture)"


def test_a_folder_without_pictures_is_an_error_beside_others(okawari: Okawari, photos: Path) -> None:
    (photos / "empty").mkdir()
    done = okawari("predict", photos, photos / "empty", exit_code=1)
    assert len(done.stdout.splitlines()) == 4
    assert "no pictures in" in done.stderr
