"""KServe's clients, unchanged, over both wires: a second opinion on the same answers."""

from __future__ import annotations

from typing import Any

import pytest

from tests.builders import score_of
from tests.clients.conftest import PICTURE, Served, told_by

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

CODES = {"400": "StatusCode.INVALID_ARGUMENT", "404": "StatusCode.NOT_FOUND"}
Told = dict[str, Any]


@pytest.fixture(scope="module", params=["http", "grpc"])
def kind(request: pytest.FixtureRequest) -> str:
    """Which wire."""
    return str(request.param)


@pytest.fixture(scope="module")
def told(kind: str, served: Served) -> Told:
    """Everything that the client was answered."""
    return told_by("kserve", "kserve_client.py", kind, served.at(kind), PICTURE)


def refused(outcome: Any, kind: str, status: str) -> str:
    """The message of an error with this status."""
    assert set(outcome) == {"raised", "status", "message"}, outcome
    assert outcome["status"] == (status if kind == "http" else CODES[status])
    return str(outcome["message"])


def test_r1_r2_r3_live_and_ready_are_read_from_the_body(told: Told) -> None:
    assert [told[question] for question in ("live", "ready", "model ready")] == [True, True, True]


def test_r3_g10_a_model_that_is_not_there_is_not_ready(told: Told) -> None:
    assert told["unknown model ready"] is False


@pytest.mark.parametrize("way", ["infer", "infer json", "infer outputs"])
def test_r6_r7_r8_infer_names_who_answered_and_gives_the_id_back(told: Told, kind: str, way: str) -> None:
    found = told[way]
    # The REST client leaves out the version that it was told; which files answered it passes on.
    assert found["model_version"] == (None if kind == "http" else "v2")
    assert found["parameters"] == ["digest", "generation"]
    assert (found["model_name"], found["id"]) == ("m", "seven")
    assert found["outputs"] == {"scores": {"shape": [2, 2], "data": [score_of(2), 0.0] * 2}}


def test_b7_pictures_as_bytes(told: Told, served: Served) -> None:
    found = served.detections()
    outputs = told["pictures"]["outputs"]
    assert outputs["num_detections"]["data"] == [len(found)]
    assert outputs["labels"]["data"] == [each["label"] for each in found]


def test_r13_errors_are_told(told: Told, kind: str) -> None:
    assert "nobody" in refused(told["unknown model"], kind, "404")
    assert "[-1, 3, 32, 32]" in refused(told["wrong shape"], kind, "400")


@pytest.fixture(scope="module")
def rest(served: Served) -> Told:
    """What the REST client was answered, by V1, too."""
    return told_by("kserve", "kserve_client.py", "http", served.http, PICTURE)


def test_v1_models_are_ready_or_not_there(rest: Told) -> None:
    assert [rest["v1 ready m"], rest["v1 ready shapes"]] == [True, True]
    assert "nobody" in refused(rest["v1 ready nobody"], "http", "404")


def test_v1_each_instance_has_its_prediction_and_the_version_is_named(rest: Told, served: Served) -> None:
    found = rest["v1 predict"]
    assert [each["detections"] for each in found["predictions"]] == [served.detections()] * 2
    assert (found["model_name"], found["model_version"]) == ("shapes", "v2")
    assert [len(each["detections"]) for each in rest["v1 few"]["predictions"]] == [1]


def test_v1_errors_are_told_in_a_sentence(rest: Told) -> None:
    assert "picture 2 of 2 (index 1)" in refused(rest["v1 broken"], "http", "400")
    assert "nobody" in refused(rest["v1 nobody"], "http", "404")
    assert ":predict" in refused(rest["v1 explain"], "http", "501")
