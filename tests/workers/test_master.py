"""What the master reads of its command line, and how it takes a hangup."""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from workers import supervisor
from workers.run_folder import RunFolder


@pytest.mark.parametrize(
    ("words", "host", "port"),
    [
        (["--host", "127.0.0.2", "--port", "4000"], "127.0.0.2", 4000),
        (["--host=::1", "-p", "4001"], "::1", 4001),
        (["--port=0"], "0.0.0.0", 0),  # noqa: S104 - what BentoML listens on
        (["--port", "many"], "0.0.0.0", 0),  # noqa: S104
        ([], "0.0.0.0", 0),  # noqa: S104
    ],
)
def test_where_http_will_listen_is_what_the_command_line_says(
    monkeypatch: pytest.MonkeyPatch, words: list[str], host: str, port: int
) -> None:
    for name in ("BENTOML_HOST", "BENTOML_PORT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(sys, "argv", ["bentoml", "serve", "service:Okawari", *words])
    assert (supervisor.host(), supervisor.port()) == (host, port)


@pytest.mark.parametrize(
    ("words", "files"),
    [
        (["--ssl-certfile", "a.crt", "--ssl-keyfile=a.key"], (Path("a.crt"), Path("a.key"))),
        (["--ssl-certfile=both.pem"], (Path("both.pem"), Path("both.pem"))),
        (["--ssl-certfile", "a.crt", "--ssl-keyfile", "a.key", "--ssl-keyfile-password", "x"], None),
        ([], None),
    ],
)
def test_the_files_of_https_are_those_of_the_command_line(
    monkeypatch: pytest.MonkeyPatch, words: list[str], files: tuple[Path, Path] | None
) -> None:
    monkeypatch.setattr(sys, "argv", ["bentoml", "serve", "service:Okawari", *words])
    assert supervisor.https_files() == files


def test_the_files_of_https_are_looked_for_where_workers_will_look(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    https = ["--ssl-certfile", "a.crt", "--ssl-keyfile", "/b.key"]
    found = (tmp_path / "a.crt", Path("/b.key"))
    monkeypatch.setattr(
        sys, "argv", ["bentoml", "serve", "service:Okawari", f"--working-dir={tmp_path}", *https]
    )
    assert supervisor.https_files() == found
    monkeypatch.setattr(sys, "argv", ["bentoml", "serve", str(tmp_path), *https])
    assert supervisor.https_files() == found


def test_without_options_the_environment_says_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["bentoml", "serve"])
    monkeypatch.setenv("BENTOML_HOST", "127.0.0.3")
    monkeypatch.setenv("BENTOML_PORT", "4002")
    assert (supervisor.host(), supervisor.port()) == ("127.0.0.3", 4002)


@pytest.fixture
def _own_hangup() -> Iterator[None]:
    from circus.sighandler import SysHandler

    handler, method = signal.getsignal(signal.SIGHUP), SysHandler.handle_hup
    yield
    signal.signal(signal.SIGHUP, handler)
    SysHandler.handle_hup = method


@pytest.mark.usefixtures("_own_hangup")
def test_a_hangup_asks_for_a_look_and_ends_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    run = RunFolder(tmp_path)
    supervisor.take_over_hangup(run)
    os.kill(os.getpid(), signal.SIGHUP)
    assert run.reload_asked() == 1
    run.asked.rename(tmp_path / "gone")
    run.asked.write_text("no folder any more")
    with caplog.at_level(logging.ERROR):
        os.kill(os.getpid(), signal.SIGHUP)
    assert "cannot pass the hangup on" in caplog.text
