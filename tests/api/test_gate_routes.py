"""What the gate found, over HTTP: in the list of versions, by itself, and judged again."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.api.shape import refused
from tests.e2e.harness import Service
from tests.e2e.reporting import Start
from tests.e2e.sizes import LIMIT
from tests.e2e.stores import Store
from tests.e2e.waiting import until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(LIMIT)]


def test_a_version_shows_what_the_gate_found(api: Service) -> None:
    found = api.get("/models/m/versions/v2/gate")
    assert found.status_code == 200, found.text
    body = found.json()
    assert (body["model"], body["version"], body["result"]) == ("m", "v2", "pass")
    assert body["verdicts"]["contract"] == {
        "result": "pass",
        "reason": "there is no version before it",
        "numbers": {},
    }
    assert api.states("m")["v2"]["gate"] == {"result": "pass", "reason": None}
    assert api.states("m")["v1"]["gate"] is None
    assert api.get("/models/m/versions/2/gate").json()["digest"] == body["digest"]


def test_there_is_no_verdict_on_what_is_not_there(api: Service) -> None:
    refused(api.get("/models/absent/versions/v1/gate"), 404, "model_not_found")
    refused(api.get("/models/m/versions/v9/gate"), 404, "version_not_found")
    for body in ({"allow": ["taste"]}, {"more": 1}):
        refused(api.client.post("/models/m/versions/v1/gate", json=body), 400, "invalid_argument")


def test_a_refused_version_is_judged_again_on_request(
    make_service: Start, store: Store, tmp_path: Path
) -> None:
    gate = {"policy": "enforce"}
    store.add("v1", 1, config={"gate": gate})
    service = make_service(store.home).ready()
    store.add("v2", 2, config={"labels": ["other", "code"], "gate": gate})
    until(lambda: service.states().get("v2", {}).get("state") == "failed", "v2 is refused")
    path = "/models/m/versions/v2/gate"
    assert service.get(path).json()["refused"].startswith("check contract: not as m:v1")
    shown = service.states()["v2"]["gate"]
    assert (shown["result"], shown["reason"].startswith("check contract")) == ("fail", True)
    answer = service.client.post(path, json={"allow": ["contract", "agreement"]})
    assert answer.status_code == 202, answer.text
    assert answer.json()["version"] == "v2"
    until(lambda: service.get(path).json()["served"], "it is noted that v2 has answered")
    found = service.get(path).json()
    assert (found["result"], found["allowed"]) == ("pass", ["agreement", "contract"])
    assert found["verdicts"]["contract"]["result"] == "fail"


def test_a_version_is_refused_and_taken_back_on_request(make_service: Start, store: Store) -> None:
    store.add("v1", 1)
    service = make_service(store.home).ready()
    store.add("v2", 2)
    service.serves("v2")
    path = "/models/m/versions/v2/gate"
    answer = service.client.post(path, json={"refuse": "misses cars at night"})
    assert answer.status_code == 202, answer.text
    service.serves("v1")  # which was kept warm
    refusal = "check guard: refused by anonymous: misses cars at night"
    until(lambda: str(service.states()["v2"]["reason"]).startswith(refusal), "it is refused")
    assert service.client.post(path, json={"allow": ["guard"]}).status_code == 202
    service.serves("v2")
