"""A page of another origin in a real browser: it reads answers where the setting names it, else none."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.clients.conftest import PICTURE, PROGRAMS, Served, home_of, run, serving

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

READABLE: dict[str, int | None] = {
    **dict.fromkeys(("form", "json", "named", "drawn", "models", "protocol"), 200),
    **dict.fromkeys(("wrong", "nowhere"), 404),
    **dict.fromkeys(("change", "unload"), 403),
}


class _Blank(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        """An empty page."""
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Nobody reads it."""


@contextmanager
def _page() -> Iterator[str]:
    """The origin of an empty page."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Blank)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _asked(page: str, served: Served) -> dict[str, Any]:
    """What the page could read of each call."""
    chromium = home_of("chromium") / "bin" / "chromium"
    program = [home_of("playwright") / "bin" / "python", PROGRAMS / "cross_origin.py"]
    done = run(*program, chromium, page, f"http://{served.http}", PICTURE)
    return dict(json.loads(done.stdout))


def _statuses(told: dict[str, Any]) -> dict[str, int | None]:
    return {name: each["status"] for name, each in told.items()}


def test_by_default_a_page_of_another_origin_reads_nothing(served: Served) -> None:
    with _page() as page:
        assert _statuses(_asked(page, served)) == dict.fromkeys(READABLE)


def test_a_page_of_a_named_origin_reads_every_answer_and_another_page_none(tmp_path: Path) -> None:
    home_of("chromium")
    with (
        _page() as allowed,
        _page() as other,
        serving(tmp_path, OKAWARI_CORS_ORIGINS=f"http://show.local,{allowed}") as served,
    ):
        told = _asked(allowed, served)
        assert _statuses(told) == READABLE
        assert told["named"]["id"] == "page-1"
        assert [told[name]["version"] for name in ("form", "json", "drawn")] == ["v2"] * 3
        assert served.service.figure("http_requests_total", method="OPTIONS", status="405") == 0
        assert served.service.figure("http_requests_total", method="OPTIONS", status="200") > 0
        assert _statuses(_asked(other, served)) == dict.fromkeys(READABLE)
