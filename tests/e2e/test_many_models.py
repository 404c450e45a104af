"""More models than fit into the memory of the service: each is answered, none loses a request."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import grpc
import psutil
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tests.builders import code_of
from tests.e2e.harness import Service
from tests.e2e.heavy_model import add_heavy
from tests.e2e.many import ask, wires
from tests.e2e.pictures import picture
from tests.e2e.reporting import Start
from tests.e2e.sizes import FULL_SIZE, LIMIT, SIZES
from tests.e2e.stores import Store
from tests.e2e.waiting import until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(LIMIT)]

MB = 1_000_000
#: Models, the least and the most of their weights in megabytes, and the budget for models.
COUNT, SMALL, LARGE = (20, 20, 120) if FULL_SIZE else (8, 10, 24)
ROOM = 5 * (SMALL + LARGE) // 2 if FULL_SIZE else 60


@dataclass(frozen=True, slots=True)
class Reply:
    """What came of one request."""

    model: str
    status: int
    version: str = ""
    code: int = -1
    text: str = ""

    @property
    def is_right(self) -> bool:
        """Whether the version that it names gave it: its code is 100 for each version, plus the model's."""
        return self.status == 200 and self.code == 100 * int(self.version[1:]) + int(self.model[1:])


def _ask(service: Service, name: str) -> Reply:
    reply = service.predict(picture(), model=name)
    if reply.status_code != 200:
        return Reply(name, reply.status_code, text=reply.text)
    body = reply.json()
    return Reply(name, 200, body["model_version"], code_of(body["detections"][0]["score"]))


def _names() -> list[str]:
    return [f"m{number}" for number in range(COUNT)]


def _fill(store: Store, version: int) -> None:
    for number, name in enumerate(_names()):
        size = SMALL + (LARGE - SMALL) * number // (COUNT - 1)
        add_heavy(store, f"v{version}", 100 * version + number, size * MB, name)


def _memory(service: Service) -> int:
    """Proportional memory of all workers."""
    total = 0
    for state in service.workers():
        try:
            total += psutil.Process(state.pid).memory_full_info().pss
        except psutil.Error:
            continue
    return total


def _gives(service: Service, name: str, version: str, replies: list[Reply]) -> bool:
    """Ask a model, keep its reply; whether it comes from a version."""
    replies.append(_ask(service, name))
    return replies[-1].version == version


@contextmanager
def _watched(service: Service) -> Iterator[list[int]]:
    """The memory of all workers, every 100 ms."""
    seen: list[int] = []
    ending = threading.Event()

    def watch() -> None:
        while not ending.wait(0.1):
            seen.append(_memory(service))

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield seen
    finally:
        ending.set()
        thread.join()


@pytest.mark.parametrize("workers", [1, 2])
def test_models_that_do_not_fit_take_turns(make_service: Start, store: Store, workers: int) -> None:
    _fill(store, 1)
    # Without measurements a version counts twice the size of its files, and three times as its peak.
    base = 110 * workers
    budget = base + 3 * workers * ROOM
    limit = "4000000000" if FULL_SIZE else "0"
    service = make_service(
        store.home,
        WORKERS=str(workers),
        OKAWARI_MEMORY_BUDGET=f"{budget}MB",
        OKAWARI_COMPILED_LIMIT=limit,
    ).ready()
    names = random.Random(7).choices(
        _names(), weights=[1 / (1 + place) for place in range(COUNT)], k=SIZES.many_models
    )
    half = len(names) // 2
    with _watched(service) as memory, ThreadPoolExecutor(4) as pool:
        replies = list(pool.map(lambda name: _ask(service, name), names[:half]))
        later = [pool.submit(_ask, service, name) for name in names[half:]]
        _fill(store, 2)  # swaps of what is in memory, and new versions of what is not
        replies += [each.result() for each in later]
        for name in _names():  # a version is known a moment after its files are there
            until(partial(_gives, service, name, "v2", replies), f"{name} answers with v2")
    assert [reply for reply in replies if not reply.is_right] == []
    assert max(memory) <= 1.1 * budget * MB, (max(memory) / MB, budget)
    assert service.figure("model_evictions_total") >= COUNT // 4


def test_a_model_that_is_not_in_memory_is_ready_and_an_unloaded_one_is_not(
    make_service: Start, store: Store
) -> None:
    for code, name in enumerate("abc"):
        add_heavy(store, "v1", code, 20 * MB, name)
    service = make_service(store.home, OKAWARI_MEMORY_BUDGET="200MB", OKAWARI_SERVE="a,b,c").ready()
    away = next(name for name in "abc" if not service.model(name)["loaded"])
    assert service.get("/readyz").status_code == 200
    assert service.get(f"/v2/models/{away}/ready").status_code == 200
    with grpc.insecure_channel(service.grpc_address) as channel:
        health = health_pb2_grpc.HealthStub(channel)
        reply = health.Check(health_pb2.HealthCheckRequest(service=away), timeout=30)
    assert reply.status == health_pb2.HealthCheckResponse.SERVING
    assert service.predict(model=away).status_code == 200
    assert service.model(away)["loaded"]
    assert service.client.post(f"/v2/repository/models/{away}/unload").status_code == 200
    until(lambda: service.model(away)["serving"] is None, "it is unloaded")
    assert service.predict(model=away).status_code == 409
    assert service.get(f"/v2/models/{away}/ready").status_code == 400
    assert service.client.post(f"/v2/repository/models/{away}/load").status_code == 200
    assert service.predict(model=away).status_code == 200


def test_what_can_never_fit_is_refused_with_the_arithmetic_and_the_rest_is_answered(
    make_service: Start, store: Store
) -> None:
    add_heavy(store, "v1", 1, 5 * MB, "small")
    add_heavy(store, "v1", 2, 90 * MB, "large")
    service = make_service(store.home, OKAWARI_MEMORY_BUDGET="150MB").ready()
    begun = time.monotonic()
    refused = service.predict(model="large")
    assert refused.status_code == 507
    assert time.monotonic() - begun < 20  # at once, not at its deadline
    error = refused.json()["error"]
    assert error["code"] == "insufficient_memory"
    assert "large:v1 needs 270 MB at its peak; budget 150, workers" in error["message"]
    assert service.predict(model="small").status_code == 200


def test_a_thousand_first_requests_for_a_cold_model_are_one_load(make_service: Start, store: Store) -> None:
    for code, name in enumerate("ab"):
        add_heavy(store, "v1", code, 20 * MB, name)
    service = make_service(
        store.home,
        OKAWARI_MEMORY_BUDGET="150MB",
        OKAWARI_MAX_CONCURRENT_REQUESTS="1000",
        OKAWARI_REQUEST_TIMEOUT="100",
    ).ready()
    away = next(name for name in "ab" if not service.model(name)["loaded"])
    before = service.figure("model_load_duration_seconds_count", model=away)
    with wires(service, 1000 if FULL_SIZE else 300) as waiting:
        for wire in waiting:
            ask(wire, model=away)
        assert {wire.reply().status for wire in waiting} == {200}
    workers = int(service.count)
    assert service.figure("model_load_duration_seconds_count", model=away) == before + workers
