"""The example page in a real browser: a picture chosen by hand, its boxes on the canvas."""

from __future__ import annotations

import base64
import io
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageColor

from tests.clients.conftest import PICTURE, PROGRAMS, Served, home_of, run
from tests.e2e.harness import ROOT

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

SERVE = ROOT / "examples" / "clients" / "browser" / "serve.py"
#: The page's own colours by label_id.
COLOURS = ["#e4572e", "#17bebb", "#ffc914", "#9b5de5", "#2e86de", "#76b041", "#ff6b9d", "#8d6e63"]


@pytest.fixture
def page(served: Served) -> Iterator[str]:
    """The page's address, served as its reader does it."""
    command = [sys.executable, SERVE, "--port", "0", "--service", f"http://{served.http}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
        try:
            assert server.stdout is not None
            yield server.stdout.readline().strip()
        finally:
            server.terminate()


def shown_by(page: str, screenshot: Path, *pictures: Path) -> list[dict[str, Any]]:
    """What the page shows after each picture; the page itself may have no error."""
    chromium = home_of("chromium") / "bin" / "chromium"
    program = [home_of("playwright") / "bin" / "python", PROGRAMS / "browser.py"]
    told = json.loads(run(*program, chromium, page, screenshot, *pictures).stdout)
    assert told["errors"] == []
    return list(told["shown"])


def test_the_page_draws_what_the_service_found(page: str, served: Served, tmp_path: Path) -> None:
    (shown,) = shown_by(page, tmp_path / "page.png", PICTURE)
    found = served.detections()
    assert shown["told"].startswith(f"shapes:v2 found {len(found)} in ")
    with Image.open(io.BytesIO(base64.b64decode(shown["drawn"]))) as drawn, Image.open(PICTURE) as picture:
        assert drawn.size == picture.size
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
    assert refused[1]["told"].startswith("415: ")
    assert not shown["failed"]
    assert "shapes:v2" in shown["told"]
