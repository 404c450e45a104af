"""The one-shot that makes lakeFS's repository: made once, waited for, and refused in plain words."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from examples.detect import lakefs_repository

KEYS = {"LAKEFS_ACCESS_KEY": "the-key", "LAKEFS_SECRET_KEY": "the-secret"}


class _Lakefs(BaseHTTPRequestHandler):
    """The two calls of lakeFS's API, as its published description has them."""

    repositories: dict[str, Any]
    #: Statuses of the next calls that make a repository.
    troubles: list[int]

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's signature
        """Say nothing."""

    def do_GET(self) -> None:
        """Tell of a repository."""
        name = self.path.removeprefix("/api/v1/repositories/")
        self._answer(200 if self._is_known() and name in self.repositories else 404)

    def do_POST(self) -> None:
        """Make one."""
        wanted = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.troubles:
            return self._answer(self.troubles.pop(0))
        if not self._is_known():
            return self._answer(401)
        if wanted["name"] in self.repositories:
            return self._answer(409)
        self.repositories[wanted["name"]] = wanted
        return self._answer(201)

    def _is_known(self) -> bool:
        login = base64.b64encode(b"the-key:the-secret").decode()
        return self.headers.get("Authorization") == f"Basic {login}"

    def _answer(self, status: int) -> None:
        body = b'{"message": "as the test says"}'
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def lakefs(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[_Lakefs]]:
    """A server of those calls, which the variables name."""
    kind = type("Lakefs", (_Lakefs,), {"repositories": {}, "troubles": []})
    server = HTTPServer(("127.0.0.1", 0), kind)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    monkeypatch.setenv("LAKEFS_ENDPOINT", f"http://127.0.0.1:{server.server_address[1]}")
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    yield kind
    server.shutdown()
    server.server_close()
    thread.join()


def _run(*arguments: str) -> tuple[int, float]:
    """Exit code, and the seconds that it waited."""
    now = 0.0

    def sleep(seconds: float) -> None:
        nonlocal now
        now += seconds

    return lakefs_repository.main(arguments, sleep, lambda: now), now


def test_the_repository_is_made_once(lakefs: type[_Lakefs]) -> None:
    assert _run() == (0, 0)
    assert lakefs.repositories == {
        "bird-detection": {
            "name": "bird-detection",
            "default_branch": "main",
            "storage_namespace": "s3://lakefs/bird-detection",
        }
    }
    lakefs.troubles.append(500)  # it is not asked for again
    assert _run() == (0, 0)
    assert lakefs.troubles == [500]


def test_it_waits_for_lakefs_and_its_storage(lakefs: type[_Lakefs]) -> None:
    lakefs.troubles.extend([503, 401, 400, 409])
    assert _run() == (0, 3)


def test_it_gives_up_in_time_with_what_was_said(
    lakefs: type[_Lakefs], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LAKEFS_SECRET_KEY", "wrong")
    assert _run("--wait", "5") == (1, 5)
    assert "401" in capsys.readouterr().err
    monkeypatch.setenv("LAKEFS_ENDPOINT", "http://127.0.0.1:1")
    assert _run("--wait", "5") == (1, 5)
    said = capsys.readouterr().err
    assert "no answer" in said
    assert "wrong" not in said


@pytest.mark.parametrize("name", ["LAKEFS_ENDPOINT", *KEYS])
def test_a_missing_variable_is_told(
    lakefs: type[_Lakefs], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, "")
    assert _run() == (2, 0)
