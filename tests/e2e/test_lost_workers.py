"""A worker is lost: those beside it go on and another takes its place, in containers too."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.harness import Service
from tests.e2e.load import Load
from tests.e2e.many import all_listen
from tests.e2e.reporting import Start
from tests.e2e.sizes import LIMIT
from tests.e2e.stores import Store
from tests.e2e.waiting import until
from workers.supervisor import IN_VAIN

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(LIMIT)]

CONTAINER = {"BENTOML_CONTAINERIZED": "true"}
MODES = pytest.mark.parametrize("mode", [{}, CONTAINER], ids=["plain", "container"])


def _start(make_service: Start, store: Store, workers: int, **settings: str) -> Service:
    store.add("v1", 1)
    service = make_service(store.home, WORKERS=str(workers), **settings).ready()
    service.hang_up()
    if workers > 1:
        all_listen(service, workers)
    until(lambda: len(_pids(service)) == workers, "all have told that they are ready")
    return service


def _pids(service: Service) -> set[int]:
    return {state.pid for state in service.workers() if state.ready}


@MODES
def test_one_of_two_workers_is_killed_under_load(
    make_service: Start, store: Store, mode: dict[str, str]
) -> None:
    service = _start(make_service, store, 2, serve="tests.e2e.rarely_looking_service:Okawari", **mode)
    killed, other = _pids(service)
    with Load(service, kept=4, fresh=2) as load:
        load.reach(100)
        os.kill(killed, signal.SIGKILL)
        until(lambda: f"lost: worker {killed}" in service.tail(1000), "it is noticed at once")
        at = time.monotonic()
        until(lambda: len(_pids(service)) == 2 and killed not in _pids(service), "another takes its place")
        load.reach(len(load.shots) + 100)
    assert other in _pids(service)
    # Each sender had one request under way at most.
    assert len(load.failures) <= 6
    assert [shot for shot in load.failures if shot.begun > at] == []
    assert load.contradictions == []
    assert service.stop() == 0


def test_the_only_worker_of_a_container_is_killed(make_service: Start, store: Store) -> None:
    service = _start(make_service, store, 1, **CONTAINER)
    killed = service.worker()
    os.kill(killed, signal.SIGKILL)
    until(lambda: _pids(service) and killed not in _pids(service), "another takes its place")
    assert service.version() == "v1"
    assert service.master.poll() is None


@MODES
def test_a_service_whose_workers_cannot_start_ends_with_an_error(
    make_service: Start, store: Store, mode: dict[str, str]
) -> None:
    store.add("v1", 1)
    service = make_service(store.home, WORKERS="1", **mode).launch()
    until((service.run.path / "service.pid").exists, "the home is claimed")
    _break_starts(service.run.board)
    assert service.ended() != 0
    assert service.tail(1000).count("lost: worker") == IN_VAIN
    assert service.gone()


def test_starts_in_vain_beside_a_living_worker_end_nothing(make_service: Start, store: Store) -> None:
    service = _start(make_service, store, 2, **CONTAINER)
    killed, other = _pids(service)
    mended = _break_starts(service.run.board)
    with Load(service) as load:
        os.kill(killed, signal.SIGKILL)
        until(lambda: service.tail(1000).count("lost: worker") > IN_VAIN, "starts in vain")
        assert _pids(service) == {other}
        mended()
        until(lambda: len(_pids(service)) == 2, "another takes its place")
    assert len(load.failures) <= 5
    assert service.master.poll() is None


def _break_starts(board: Path) -> Callable[[], None]:
    """Take away what a worker needs to start; calling the result gives it back."""
    kept = board.with_name("kept")
    shutil.move(board, kept)
    board.write_text("this is no folder")

    def mend() -> None:
        board.unlink()
        shutil.move(kept, board)

    return mend
