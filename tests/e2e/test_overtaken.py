"""A change of a target that another change overtakes is answered at once, by whichever worker took it."""

from __future__ import annotations

import os
from concurrent.futures import Future, ThreadPoolExecutor

import httpx
import pytest

from tests.e2e.harness import Service
from tests.e2e.reporting import Start
from tests.e2e.sizes import LIMIT
from tests.e2e.stores import Store
from tests.e2e.waiting import until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(LIMIT)]

#: Nobody waits so long: the test would be over.
_LONG = str(LIMIT)


def _put(service: Service, target: str, reason: str) -> httpx.Response:
    with httpx.Client(base_url=service.url, timeout=LIMIT, trust_env=False) as client:
        return client.put("/models/m/target", json={"target": target, "reason": reason})


def _waiting(service: Service, pool: ThreadPoolExecutor) -> list[Future[httpx.Response]]:
    """Calls that wait for v2, on connections of their own."""
    before = _revision(service)
    calls = [pool.submit(_put, service, "v2", f"call {number}") for number in range(6)]
    until(lambda: _revision(service) >= before + len(calls), "all calls have written their wish")
    return calls


def _revision(service: Service) -> int:
    return int(service.model("m")["revision"])


@pytest.mark.parametrize("workers", ["1", "2"])
def test_it_is_told_what_is_wanted_now_by_whom_and_why(
    make_service: Start, store: Store, workers: str
) -> None:
    store.add("v1", 1)
    store.add("v2", 2)
    os.truncate(store.models / "m/v2/weights.onnx", 10)  # as if it were still copied: it is waited for
    made = {"WORKERS": workers, "OKAWARI_SERVE": "m:v1", "OKAWARI_SWAP_TIMEOUT": _LONG}
    service = make_service(store.home, **made).ready()
    with ThreadPoolExecutor(6) as pool:
        calls = _waiting(service, pool)
        assert _put(service, "v1", "v2 never came").status_code == 200
        answers = [call.result() for call in calls]
    assert {answer.status_code for answer in answers} == {409}
    errors = [answer.json()["error"] for answer in answers]
    assert {error["code"] for error in errors} == {"superseded"}
    assert all(error["message"].endswith("wants m:v1 (v2 never came)") for error in errors), errors
