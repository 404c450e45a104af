"""The end of the service: nobody who was heard goes without an answer, nothing is left behind."""

from __future__ import annotations

import os
import signal
import time

import pytest

from tests.e2e.harness import Service
from tests.e2e.load import Load
from tests.e2e.many import all_listen
from tests.e2e.pictures import picture
from tests.e2e.reporting import Start
from tests.e2e.sizes import LIMIT
from tests.e2e.slow_model import Asked, Pace, add_slow, leases
from tests.e2e.stores import Store
from tests.e2e.waiting import until
from tests.e2e.wire import Wire

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(LIMIT)]


def _idle(service: Service) -> Wire:
    """A connection that was used and is kept: its end tells that the worker is draining."""
    wire = Wire(service)
    wire.head("/livez", "GET")
    assert wire.reply().status == 200
    return wire


def test_a_request_whose_headers_were_read_is_answered_while_draining(
    make_service: Start, store: Store
) -> None:
    store.add("v1", 1)
    service = make_service(store.home).ready()
    image = picture()
    with _idle(service) as idle, Wire(service) as wire:
        wire.head(Content_Type="image/jpeg", Content_Length=len(image), Expect="100-continue")
        wire.wait_for_continue()
        wire.send(image[:10])
        service.signal(signal.SIGTERM)
        assert idle.at_end()
        if service.count > 1:  # the other connection may be another worker's
            all_listen(service, 0)
        assert service.master.poll() is None
        wire.send(image[10:])
        reply = wire.reply()
        assert reply.status == 200, reply.body
        assert reply.json()["model_version"] == "v1"
        assert reply.headers["connection"] == "close"
        assert wire.at_end()
    assert service.ended() == 0
    assert service.gone()


def test_a_model_that_runs_finishes_its_answer_while_draining(make_service: Start, store: Store) -> None:
    add_slow(store)
    service = make_service(store.home).ready()
    image = Pace(service).picture(3)
    with _idle(service) as idle:
        asked = Asked(service, image)
        until(lambda: leases(service) == 1, "the model runs")
        service.signal(signal.SIGTERM)
        assert idle.at_end()
    answer = asked.answer()
    assert answer.status_code == 200, answer.text
    assert answer.headers["connection"] == "close"
    assert service.ended() == 0
    assert service.gone()


def test_no_request_from_before_the_end_is_lost_under_load(make_service: Start, store: Store) -> None:
    store.add("v1", 1)
    service = make_service(store.home).ready()
    with Load(service) as load:
        load.reach(200)
        ending = time.monotonic()
        code = service.stop()
    assert [shot for shot in load.sent_before(ending) if shot.status != 200] == []
    assert {shot.status for shot in load.shots} <= {200, 0}
    kept = [shot for shot in load.shots if shot.status == 200 and not shot.fresh]
    assert {shot.closes for shot in kept if shot.ended < ending} == {False}
    assert code == 0
    assert service.gone()


def test_when_the_master_is_killed_the_workers_end_and_a_new_service_takes_over(
    make_service: Start, store: Store
) -> None:
    add_slow(store)
    service = make_service(store.home, WORKERS="2").ready()
    asked = Asked(service, Pace(service).picture(2))
    until(lambda: leases(service) == 1, "the model runs")
    service.signal(signal.SIGKILL)
    assert service.ended() == -signal.SIGKILL
    until(service.gone, "the workers end by themselves")
    assert asked.answer().status_code == 200
    assert not service.run.is_up()
    again = make_service(store.home, port=service.port).ready()
    assert again.predict(picture(), model="slow").status_code == 200
    assert again.pid == again.master.pid != service.master.pid


def test_a_hangup_before_the_workers_are_up_does_not_end_the_service(
    make_service: Start, store: Store
) -> None:
    store.add("v1", 1)
    service = make_service(store.home).launch()
    until((store.home / "run" / "service.pid").exists, "the home is claimed")
    for _ in range(5):
        os.kill(service.pid, signal.SIGHUP)
        time.sleep(0.05)
    until(service._is_up, "it answers")
    assert service.version() == "v1"


def test_a_master_that_is_killed_while_its_worker_starts_leaves_no_orphan(
    make_service: Start, store: Store
) -> None:
    store.add("v1", 1)
    service = make_service(store.home).launch()
    until(service.children, "the worker's process is there")
    service.signal(signal.SIGKILL)
    assert service.ended() == -signal.SIGKILL
    until(service.gone, "the worker ends by itself")
    assert make_service(store.home).ready().version() == "v1"
