"""The edge client, killed before each of its steps and in mid-request, loses and doubles nothing."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.waiting import until
from tests.edge.conftest import PROGRAM, MakeSite, Site
from tests.support.forks import status_of, words_in
from tests.support.kill_steps import KillSteps
from tests.support.scripted_server import Done, Reset, ScriptedServer, Status

pytestmark = pytest.mark.process
#: One goes in a batch, one is failed by the batch, one goes first and alone; and one is refused.
GOOD = [b"one", b"odd two", b"newest"]
BAD = b"bad picture"


def _fill(site: Site) -> None:
    for number, content in enumerate([BAD, *GOOD]):
        site.picture(f"{number}.jpg", content, at=1_800_000_000 + number)


def _killed(site: Site, step: int) -> int:
    """Run the program, which is killed before a step; its status."""
    import client

    def work() -> list[str]:
        steps = KillSteps(step)
        steps.watch()
        steps.begin()
        assert client.main(["--config", str(site.config), "--once"]) == 0
        steps.end()
        return []

    return status_of(work, site.folder)


def _check(site: Site, server: ScriptedServer) -> None:
    """Everything good was delivered, each under one key; the bad picture lies aside; nothing else is left."""
    assert server.contents == sorted(GOOD)
    assert all(len(server.keys_of(content)) == 1 for content in GOOD)
    assert site.names("pictures") == site.names("spool") == []
    (name,) = site.names("refused")
    assert (site.folder / "refused" / name / "0.jpg").read_bytes() == BAD
    assert {each.name for each in (site.folder / "spool").iterdir()} == {".lock"}


@pytest.mark.timeout(300)
@pytest.mark.parametrize("stride", [6, pytest.param(1, marks=pytest.mark.full)])
def test_it_is_killed_before_each_step(make_site: MakeSite, server: ScriptedServer, stride: int) -> None:
    make_site().run()  # imports what the forks would import
    step = 1 - stride
    status = -signal.SIGKILL
    while status == -signal.SIGKILL:
        step += stride
        server.kept.clear()
        site = make_site()
        _fill(site)
        status = _killed(site, step)
        assert status in (0, -signal.SIGKILL), words_in(site.folder)
        assert _killed(site, 0) == 0, words_in(site.folder)
        _check(site, server)
    assert step > 60, "these are not all steps"


@pytest.mark.full
@pytest.mark.timeout(900)
def test_it_is_killed_again_and_again_while_the_server_is_in_trouble(
    make_site: MakeSite, server: ScriptedServer
) -> None:
    make_site().run()
    chance = random.Random(5)
    troubles = [Status(503), Status(429), Reset(True), Reset(False), None, None, None]
    for _ in range(100):
        server.kept.clear()
        site = make_site()
        _fill(site)
        while _killed(site, chance.randrange(1, 60)) == -signal.SIGKILL:
            server.script.append(chance.choice(troubles))
        server.script.clear()
        assert _killed(site, 0) == 0, words_in(site.folder)
        _check(site, server)


@pytest.fixture
def started(site: Site) -> Iterator[subprocess.Popen[bytes]]:
    """The program, started as its users start it."""
    _fill(site)
    process = _start(site)
    yield process
    process.kill()
    process.wait()


def _start(site: Site, *more: str) -> subprocess.Popen[bytes]:
    with (site.folder / "words").open("ab") as words:
        return subprocess.Popen(
            [sys.executable, str(PROGRAM), "--config", str(site.config), *more], stderr=words, cwd="/"
        )


@pytest.mark.parametrize("is_done", [False, True])
@pytest.mark.parametrize("number", [0, 1, 2, 3])
def test_it_is_killed_while_it_waits_for_an_answer(
    site: Site, server: ScriptedServer, is_done: bool, number: int
) -> None:
    """About the newest picture, the batch, the refused one, the one that the batch failed."""
    processes: list[subprocess.Popen[bytes]] = []

    def kill() -> None:
        processes[0].kill()
        processes[0].wait()

    server.script.extend([*[None] * number, Done(kill) if is_done else kill])
    _fill(site)
    processes.append(_start(site, "--once"))
    assert processes[0].wait(30) == -signal.SIGKILL
    again = _start(site, "--once")
    assert again.wait(30) == 0, (site.folder / "words").read_text()
    _check(site, server)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_when_all_is_delivered(
    site: Site, server: ScriptedServer, started: subprocess.Popen[bytes], number: signal.Signals
) -> None:
    until(lambda: len(server.contents) == len(GOOD) and site.names("spool") == [], "all delivered")
    late = site.folder / "late.jpg"
    late.write_bytes(b"later")
    late.rename(site.folder / "pictures" / "late.jpg")
    until(lambda: b"later" in server.contents, "a later picture, too")
    started.send_signal(number)
    assert started.wait(30) == 0


def test_it_ends_with_3_where_the_token_is_refused(
    site: Site, server: ScriptedServer, started: subprocess.Popen[bytes]
) -> None:
    server.tokens = set()
    Path(site.folder / "pictures" / "more.jpg").write_bytes(b"more")
    assert started.wait(30) == 3
    assert b"nothing is lost" in (site.folder / "words").read_bytes()
