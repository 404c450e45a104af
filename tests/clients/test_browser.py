"""The example page in a real browser: a picture chosen by hand, its boxes on the canvas."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

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
    with Image.open(PICTURE) as picture:
        assert shown["size"] == list(picture.size)
    wanted = {COLOURS[each["label_id"]] for each in found}
    drawn = {colour for colour, pixels in shown["colours"].items() if pixels > 100}
    assert found
    assert wanted <= drawn
    with Image.open(tmp_path / "page.png") as screenshot:
        assert screenshot.height > 300


def test_a_file_that_is_no_picture_is_told_and_the_next_one_is_shown(page: str, tmp_path: Path) -> None:
    text = tmp_path / "text.jpg"
    text.write_text("no picture")
    refused, shown = shown_by(page, tmp_path / "page.png", text, PICTURE)
    assert refused["failed"]
    assert refused["told"]
    assert not shown["failed"]
    assert "shapes:v2" in shown["told"]
