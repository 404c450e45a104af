"""Three ways to say "look again now"; none of them disturbs a request.

The poll is slowed down to a minute and the files lie still, so that nothing but the asking can explain
why a version that failed is tried again.
"""

from __future__ import annotations

import math
import os
import signal
from collections.abc import Callable

import pytest

from tests.e2e.harness import Service
from tests.e2e.load import Load, Readiness
from tests.e2e.reporting import Start
from tests.e2e.sizes import LIMIT
from tests.e2e.stores import Store
from tests.e2e.waiting import until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(LIMIT)]

_BEFORE_THE_NEXT_POLL = 30


def _hangup(service: Service) -> None:
    os.kill(service.pid, signal.SIGHUP)


def _post(service: Service) -> None:
    answer = service.client.post("/api/v1/reload")
    assert answer.status_code == 200
    assert answer.json() == service.get("/models").json() | {"models": answer.json()["models"]}


@pytest.mark.parametrize("ask", [_hangup, _post])
def test_asking_for_a_look_retries_at_once_and_fails_no_request(
    ask: Callable[[Service], None], make_service: Start, store: Store
) -> None:
    store.add("v1", 1)
    service = make_service(store.home, OKAWARI_POLL_INTERVAL="60").ready()
    store.add("v2", 2, best=math.nan)
    until(lambda: _failures(service) == service.count, "v2 fails once")
    workers = service.pids()
    with Readiness(service) as readiness, Load(service) as load:
        for times in (2, 3, 4):
            ask(service)
            until(lambda: _failures(service) == times * service.count, "another try", _BEFORE_THE_NEXT_POLL)  # noqa: B023
            load.reach(len(load.shots) + 50)
    assert load.failures == []
    assert load.contradictions == []
    assert readiness.flaps == []
    assert service.pids() == workers
    assert service.states()["v1"]["state"] == "serving"


def _failures(service: Service) -> float:
    return service.figure("model_load_failures_total", model="m")
