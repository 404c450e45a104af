"""`/models` and targets."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.api.shape import refused
from tests.e2e.harness import Service
from tests.e2e.sizes import LIMIT
from tests.e2e.waiting import until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(LIMIT)]


def test_models_are_listed_with_every_version(api: Service) -> None:
    document = api.get("/models").json()
    assert list(document) == ["default", "models"]
    assert document["default"] == "m"
    assert [each["name"] for each in document["models"]] == ["bad", "m", "other"]
    found = document["models"][1]
    state = ["name", "target", "serving", "generation", "revision", "reason"]
    nature = ["type", "provider", "resources"]
    residence = ["loaded", "memory_mb", "last_used", "evictable", "residency_reason"]
    assert list(found) == [*state, *nature, *residence, "versions", "missing", "canary"]
    assert (found["target"], found["serving"], found["generation"]) == ("latest", "v2", 1)
    assert isinstance(found["revision"], int)
    assert found["reason"] is None
    states = {each["version"]: each for each in found["versions"]}
    assert {version: each["state"] for version, each in states.items()} == {
        "v1": "available",
        "v2": "serving",
    }
    for each in states.values():
        state = ["version", "digest", "state", "reason", "size_bytes", "created"]
        assert list(each) == [*state, "device", "device_reason", "gate"]
        assert each["device"] == ("cpu" if each["state"] == "serving" else None)
        assert re.fullmatch(r"sha256:[0-9a-f]{64}", each["digest"])
        assert each["size_bytes"] > 0
        assert re.match(r"2026-01-01T00:0\d:00Z$", each["created"])
    assert found == api.model("m")


def at_rest(api: Service) -> dict[str, Any]:
    """What is told of `bad`, which is tried again now and then, while it is not."""
    (found,) = until(
        lambda: [each for each in [api.model("bad")] if each["versions"][0]["state"] == "failed"], "it rests"
    )
    return found


def test_a_refused_version_says_why(api: Service) -> None:
    found = at_rest(api)
    assert (found["target"], found["serving"], found["generation"]) == ("latest", None, None)
    assert found["versions"][0]["state"] == "failed"
    assert found["versions"][0]["reason"]


def test_a_model_that_is_not_there(api: Service) -> None:
    refused(api.get("/models/nobody"), 404, "model_not_found")
    refused(api.target("latest", "nobody"), 404, "model_not_found")
    refused(api.get(f"/models/{'x' * 5000}"), 404, "model_not_found")


def test_a_target_is_changed_and_confirmed(api: Service) -> None:
    before = api.model("other")
    answer = api.target(1, "other", expected_current="v3", reason="v3 sees ghosts")
    assert answer.status_code == 200, answer.text
    pinned = answer.json()
    assert (pinned["target"], pinned["serving"]) == ("v1", "v1")
    assert pinned["generation"] == before["generation"] + 1
    assert pinned["revision"] > before["revision"]
    assert api.version("other") == "v1"
    assert api.target("2", "other", expected_current=1).json()["serving"] == "v2"
    again = api.target("latest", "other", expected_current="v2").json()
    assert (again["target"], again["serving"]) == ("latest", "v3")
    assert again["generation"] == before["generation"] + 3
    unchanged = api.target("latest", "other").json()
    assert unchanged["generation"] == again["generation"]


def test_what_is_expected_must_be_so(api: Service) -> None:
    until(lambda: "draining" not in str(api.model("other")), "what answered before has left")
    before = api.model("other")
    message = refused(api.target("v1", "other", expected_current="v2"), 409, "conflict")
    assert "v3" in message
    refused(api.target("v1", "bad", expected_current="v1"), 409, "conflict")
    assert api.model("other") == before


def test_a_version_that_cannot_serve_is_refused_and_the_target_put_back(api: Service) -> None:
    before = at_rest(api)
    message = refused(api.target("v1", "bad"), 409, "version_failed")
    assert before["versions"][0]["reason"] in message
    assert api.model("bad")["target"] == "latest"
    refused(api.target("v9", "m"), 404, "version_not_found")
    assert api.model("m")["target"] == "latest"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"v1",
        b"[]",
        b"{}",
        b'{"target": null}',
        b'{"target": 1.5}',
        b'{"target": true}',
        b'{"target": "v1", "other": 1}',
        b'{"target": "../v1"}',
        b'{"target": ""}',
        b'{"target": "v1", "reason": 5}',
        b'{"target": "v1"',
        b'{"target": "v1", "reason": "' + b"x" * 501 + b'"}',
        b"\xff\xfe",
    ],
)
def test_a_target_that_cannot_be_read_changes_nothing(api: Service, body: bytes) -> None:
    before = api.model("m")
    answer = api.client.put("/models/m/target", content=body, headers={"content-type": "application/json"})
    refused(answer, 400, "invalid_argument")
    assert api.model("m") == before


def test_a_target_must_be_json(api: Service) -> None:
    answer = api.client.put("/models/m/target", content=b"v1", headers={"content-type": "text/plain"})
    refused(answer, 415, "unsupported_media_type")


def test_a_reload_answers_with_the_models(api: Service) -> None:
    answer = api.client.post("/api/v1/reload")
    assert answer.status_code == 200
    assert [each["name"] for each in answer.json()["models"]] == ["bad", "m", "other"]
