"""More work than the service takes, and work that takes too long: refused at once, and forgotten."""

from __future__ import annotations

import selectors
import socket
import time
from contextlib import ExitStack, suppress
from typing import Any

import pytest

from tests.e2e.harness import Service
from tests.e2e.many import ask, stopped, wires
from tests.e2e.pictures import grey
from tests.e2e.reporting import Start
from tests.e2e.sizes import LIMIT, SIZES, SOON
from tests.e2e.slow_model import Asked, Pace, add_slow, leases
from tests.e2e.stores import Store
from tests.e2e.waiting import until
from tests.e2e.wire import Reply

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(LIMIT)]


def test_a_full_service_refuses_at_once_and_runs_no_more_than_its_threads(
    make_service: Start, store: Store
) -> None:
    add_slow(store)
    settings = {"OKAWARI_MAX_CONCURRENT_REQUESTS": "3", "OKAWARI_THREADS": "1", "WORKERS": "1"}
    service = make_service(store.home, **settings).ready()
    image = Pace(service).picture(1)
    _fail_in_every_way(service)
    for _ in range(SIZES.overload_rounds):
        began = time.monotonic()
        replies = _at_once(service, image, 7)
        took = time.monotonic() - began
        # All places, and no more, were free: none leaked in the rounds before. Who is refused is told first.
        assert [reply.status for reply in replies] == [429] * 4 + [200] * 3
        refused, good = replies[:4], [reply.json()["timings_ms"] for reply in replies[4:]]
        assert {reply.json()["error"]["code"] for reply in refused} == {"overloaded"}
        assert all(int(reply.headers["retry-after"]) > 0 for reply in refused)
        # One thread: the runs lie one after the other, so their sum fits in the time that passed.
        ran = [times["inference"] / 1000 for times in good]
        assert sum(ran) <= took
        assert sorted(times["queue"] / 1000 for times in good)[1] >= 0.5 * min(ran)
    assert service.figure("inference_requests_total", status="overloaded") == 4 * SIZES.overload_rounds
    assert service.predict(grey(0), model="slow").status_code == 200


def test_a_late_answer_is_refused_and_its_place_is_held_until_the_thread_ends(
    make_service: Start, store: Store
) -> None:
    add_slow(store)
    settings = {"OKAWARI_REQUEST_TIMEOUT": "1", "OKAWARI_MAX_CONCURRENT_REQUESTS": "1", "WORKERS": "1"}
    service = make_service(store.home, **settings).ready()
    image = Pace(service).picture(4)
    for _ in range(2):
        late = Asked(service, image).answer()
        assert (late.status_code, late.json()["error"]["code"]) == (504, "deadline_exceeded")
        # The thread still runs: its place must not be given away.
        held = service.predict(grey(0), model="slow")
        assert (held.status_code, held.json()["error"]["code"]) == (429, "overloaded")
        until(lambda: service.predict(grey(0), model="slow").status_code == 200, "its place is free again")
    assert service.figure("inference_requests_total", status="deadline_exceeded") >= 2


def test_work_that_waits_too_long_is_withdrawn_and_never_runs(make_service: Start, store: Store) -> None:
    add_slow(store)
    settings = {"OKAWARI_REQUEST_TIMEOUT": "1", "OKAWARI_THREADS": "1", "WORKERS": "1"}
    service = make_service(store.home, **settings).ready()
    image = Pace(service).picture(3)
    running = Asked(service, image)
    until(lambda: leases(service) == 1, "the thread is busy")
    waiting = [Asked(service, image) for _ in range(8)]
    assert {asked.answer().status_code for asked in (running, *waiting)} == {504}
    # None of the eight holds the model any more: nobody can run without.
    assert leases(service) <= 1
    until(lambda: service.predict(grey(0), model="slow").status_code == 200, "the thread is free again")


def _at_once(service: Service, image: bytes, count: int) -> list[Reply]:
    """The replies to so many requests, in the order in which they came.

    All requests have come before the first is read: the worker stands still until then.
    """
    with ExitStack() as stack, selectors.DefaultSelector() as answered:
        with stopped(service.worker()):
            for wire in stack.enter_context(wires(service, count)):
                ask(wire, image, "slow")
                answered.register(wire, selectors.EVENT_READ)
        replies: list[Reply] = []
        while len(replies) < count:
            for key, _ in answered.select(SOON):
                replies.append(_reply(key.fileobj))
                answered.unregister(key.fileobj)
        return replies


def _reply(wire: Any) -> Reply:
    reply: Reply = wire.reply()
    return reply


def _fail_in_every_way(service: Service) -> None:
    """More refusals of each kind than there are places: none may keep its place."""
    for _ in range(4):
        for body, wanted in ((b"nothing", {}), (grey(0), {"version": "v9"}), (grey(0), {"model": "none"})):
            assert service.predict(body, **{"model": "slow", **wanted}).status_code in (400, 404)


def test_bodies_that_never_end_hold_bounded_memory_and_are_refused_beyond_it(
    make_service: Start, store: Store
) -> None:
    store.add("v1", 1)
    service = make_service(
        store.home, OKAWARI_MAX_BUFFERED_BYTES="20000000", OKAWARI_REQUEST_TIMEOUT="5", WORKERS="1"
    ).ready()
    before = service.resident()
    uploads = [_unfinished(service.port) for _ in range(12)]
    answers = [upload.recv(4096) for upload in uploads]
    statuses = sorted(answer.split(b" ", 2)[1] for answer in answers)
    assert statuses.count(b"429") >= 8
    assert set(statuses) == {b"429", b"504"}
    assert service.resident() - before < 100_000_000
    assert service.version() == "v1"
    for upload in uploads:
        upload.close()


def _unfinished(port: int) -> socket.socket:
    """A connection whose request lacks the end of its body."""
    connection = socket.create_connection(("127.0.0.1", port), timeout=60)
    head = "POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: image/jpeg\r\nContent-Length: 9000000\r\n\r\n"
    connection.sendall(head.encode())
    with suppress(OSError):
        connection.sendall(bytes(8_999_000))
    return connection
