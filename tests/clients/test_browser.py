"""The example page in a real browser: a chosen picture, its boxes on the canvas, a swap as it happens."""

from __future__ import annotations

import base64
import io
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageColor

from tests.clients.conftest import PICTURE, PROGRAMS, Served, home_of, run
from tests.e2e.harness import ROOT, free_port
from tests.e2e.waiting import until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

SERVE = ROOT / "examples" / "clients" / "browser" / "serve.py"
#: The page's own colours by label_id.
COLOURS = ["#e4572e", "#17bebb", "#ffc914", "#9b5de5", "#2e86de", "#76b041", "#ff6b9d", "#8d6e63"]


@contextmanager
def served_page(service: str) -> Iterator[str]:
    """The page's address, served as its reader does it."""
    command = [sys.executable, SERVE, "--port", "0", "--service", service]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
        try:
            assert server.stdout is not None
            yield server.stdout.readline().strip()
        finally:
            server.terminate()


@pytest.fixture
def page(served: Served) -> Iterator[str]:
    """The page of the one service."""
    with served_page(f"http://{served.http}") as address:
        yield address


def shown_by(page: str, screenshot: Path, *steps: str | Path) -> list[dict[str, Any]]:
    """What the page shows after each step; the page itself may have no error."""
    chromium = home_of("chromium") / "bin" / "chromium"
    program = [home_of("playwright") / "bin" / "python", PROGRAMS / "browser.py"]
    told = json.loads(run(*program, chromium, page, screenshot, *steps).stdout)
    assert told["errors"] == []
    return list(told["shown"])


def test_the_page_draws_what_the_service_found(page: str, served: Served, tmp_path: Path) -> None:
    (shown,) = shown_by(page, tmp_path / "page.png", PICTURE)
    found = served.detections()
    assert shown["told"].startswith(f"shapes:v2 found {len(found)} in ")
    assert shown["found"] == [f"{each['label']} {each['score']:.2f}" for each in found]
    with Image.open(io.BytesIO(base64.b64decode(shown["drawn"]))) as drawn, Image.open(PICTURE) as picture:
        assert drawn.size == (720, 720 * picture.height // picture.width), "a small one is drawn larger"
        assert found
        for each in found:
            x1, y1, _, y2 = each["bbox"]
            left = int(x1 * drawn.width), int((y1 + y2) / 2 * drawn.height)
            wanted = ImageColor.getrgb(COLOURS[each["label_id"]])
            assert drawn.convert("RGB").getpixel(left) == pytest.approx(wanted, abs=40)


def test_a_file_that_is_not_taken_is_told_and_the_next_one_is_shown(page: str, tmp_path: Path) -> None:
    text, moving = tmp_path / "text.jpg", tmp_path / "moving.gif"
    text.write_text("no picture")
    Image.new("RGB", (32, 32)).save(moving)
    *refused, shown = shown_by(page, tmp_path / "page.png", text, moving, PICTURE)
    assert all(each["failed"] and each["told"] for each in refused)
    assert [each["told"][:5] for each in refused] == ["400: ", "415: "]
    assert not any(each["drawn"] or each["found"] for each in refused)
    assert not shown["failed"]
    assert "shapes:v2" in shown["told"]


def test_a_picture_larger_than_the_page_takes_is_told(page: str, tmp_path: Path) -> None:
    large = tmp_path / "large.jpg"
    large.write_bytes(PICTURE.read_bytes() + bytes(10_000_000))
    (refused,) = shown_by(page, tmp_path / "page.png", large)
    assert refused["told"] == "413: a picture may have 10,000,000 bytes"


def test_the_example_is_shown_and_asked_of_another_model(page: str, tmp_path: Path) -> None:
    example, classes = shown_by(page, tmp_path / "page.png", "example", "model m")
    assert example["told"].startswith("shapes:v2 found ")
    assert classes["told"].startswith("m:v2 found 1 in ")
    assert len(classes["found"]) == 1


def test_a_page_that_goes_on_asking_shows_a_swap(page: str, served: Served, tmp_path: Path) -> None:
    """A page that asked but once would wait here for ever."""
    sign = tmp_path / "sign"

    def swap() -> None:
        until(sign.exists, "the page has shown v2")
        assert served.service.target("v1").status_code == 200

    thread = threading.Thread(target=swap)
    thread.start()
    try:
        steps = ("example", "model m", "until m:v2", f"sign {sign}", "until m:v1")
        *_, old, _, new = shown_by(page, tmp_path / "page.png", *steps)
    finally:
        thread.join()
        served.service.target("latest")
    assert old["told"].startswith("m:v2 found 1 in ")
    assert new["told"].startswith("m:v1 found 1 in ")


def test_where_no_service_is_the_page_says_so(tmp_path: Path) -> None:
    with served_page(f"http://127.0.0.1:{free_port()}") as page:
        (shown,) = shown_by(page, tmp_path / "page.png", PICTURE)
    assert shown["told"].startswith("502: the service cannot be reached at 127.0.0.1:")


def test_the_pages_of_the_service_ask_nobody_else(served: Served, tmp_path: Path) -> None:
    """They are BentoML's, which would load somebody else's script, which could call the service, too."""
    program = [home_of("playwright") / "bin" / "python", PROGRAMS / "documents.py"]
    page = [home_of("chromium") / "bin" / "chromium", f"http://{served.http}/", tmp_path / "pages.png"]
    told = json.loads(run(*program, *page).stdout)
    assert told["listed"] > 15
    assert told["beyond"] == []
