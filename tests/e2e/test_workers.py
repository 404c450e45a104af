"""Figures are right over two workers, and stay so when one of them is killed."""

from __future__ import annotations

import os
import signal
from functools import partial
from pathlib import Path

import pytest

from tests.e2e.harness import Service
from tests.e2e.load import Load
from tests.e2e.many import all_listen
from tests.e2e.reporting import Start
from tests.e2e.sizes import LIMIT
from tests.e2e.stores import Store
from tests.e2e.waiting import until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(LIMIT)]


def test_workers_are_forked_from_the_master_also_when_they_are_replaced(
    make_service: Start, store: Store
) -> None:
    store.add("v1", 1)
    service = make_service(store.home, WORKERS="2").ready()
    until(lambda: _serving(service) == 2, "both workers serve")
    killed = service.workers()[0].pid
    os.kill(killed, signal.SIGKILL)
    pids: list[int] = []

    def replaced() -> bool:
        pids[:] = [state.pid for state in service.workers()]
        return len(pids) == 2 and killed not in pids

    until(replaced, "the lost worker is replaced")
    commands = [Path(f"/proc/{pid}/cmdline").read_bytes() for pid in pids]
    assert commands == 2 * [Path(f"/proc/{service.pid}/cmdline").read_bytes()]


def test_figures_survive_a_killed_worker(make_service: Start, store: Store) -> None:
    store.add("v1", 1)
    service = make_service(store.home, WORKERS="2").ready()
    until(lambda: _serving(service) == 2, "both workers serve")
    first = _shoot(service, 300)
    # A worker counts an answer when it is out; another worker may be asked for the figures before that.
    until(lambda: _counted(service) == first, "every answer is counted")
    killed = service.workers()[0].pid
    os.kill(killed, signal.SIGKILL)
    service.hang_up()
    until(lambda: _serving(service) == 1, "the dead worker's generation is no longer counted")
    assert _counted(service) == first
    second = _shoot(service, 100)
    until(lambda: _counted(service) == first + second, "the second answers are counted")
    until(lambda: len(service.workers()) == 2, "the worker is replaced")
    until(lambda: _serving(service) == 2, "both workers serve again")
    third = _shoot(service, 100)
    until(lambda: _counted(service) == first + second + third, "the third answers are counted")
    assert service.figure("inference_requests_total", model="m", status="ok") == first + second + third
    assert service.figure("detections_per_image_count", model="m") == first + second + third
    assert killed not in [state.pid for state in service.workers()]


def _shoot(service: Service, count: int) -> int:
    with Load(service, kept=2, fresh=3) as load:
        load.reach(count)
    assert load.failures == []
    return len(load.shots)


def _counted(service: Service) -> float:
    return service.figure("inference_duration_seconds_count", model="m", version="v1")


def _serving(service: Service) -> float:
    return service.figure("model_generations", model="m", state="serving")


def test_requests_are_counted_by_worker_and_a_replaced_one_counts_on(
    make_service: Start, store: Store
) -> None:
    store.add("v1", 1)
    service = make_service(store.home, WORKERS="2").ready()
    all_listen(service, 2)
    for round_ in range(3):
        _shoot(service, 200)
        until(lambda: _workers(service) == {"0", "1"}, "both workers have counted")
        killed = service.workers()[round_ % 2].pid
        os.kill(killed, signal.SIGKILL)
        service.hang_up()
        until(partial(_replaced, service, killed), "the worker is replaced")
        all_listen(service, 2)
    assert _workers(service) == {"0", "1"}


def _replaced(service: Service, killed: int) -> bool:
    pids = [state.pid for state in service.workers() if state.ready]
    return len(pids) == 2 and killed not in pids


def _workers(service: Service) -> set[str]:
    """The workers that have counted predictions."""
    counted = service.samples("http_requests_total", endpoint="/predict")
    return {sample.labels["worker"] for sample in counted if sample.value > 0}
