"""What perf_analyzer asks for: the model's config, its metadata, the server's, statistics, then infer."""

from __future__ import annotations

import json

import pytest

from tests.api.open_inference.asking import document, infer, pictures, pixels
from tests.e2e.harness import Service
from tests.e2e.pictures import picture
from tests.e2e.reporting import Start
from tests.e2e.sizes import LIMIT
from tests.e2e.stores import Store

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(LIMIT)]

_DURATIONS = ("success", "fail", "queue", "compute_input", "compute_infer", "compute_output")


@pytest.mark.parametrize("version", ["", "/versions/v2", "/versions/2"])
def test_the_config_tells_the_graph_in_tritons_words(v2: Service, version: str) -> None:
    found = document(v2.get(f"/v2/models/m{version}/config"))
    assert {name: found[name] for name in ("name", "platform", "backend", "max_batch_size")} == {
        "name": "m",
        "platform": "onnxruntime_onnx",
        "backend": "onnxruntime",
        "max_batch_size": 0,
    }
    assert found["input"] == [{"name": "image", "data_type": "TYPE_FP32", "dims": [-1, 3, 32, 32]}]
    assert found["output"] == [{"name": "scores", "data_type": "TYPE_FP32", "dims": [-1, 2]}]
    assert found["parameters"]["picture_input"] == {"string_value": "image"}


def test_the_config_has_a_word_for_every_datatype(v2: Service) -> None:
    told = {each["name"]: each["data_type"] for each in document(v2.get("/v2/models/types/config"))["output"]}
    assert (told["bytes"], told["bool"], told["uint8"], told["fp16"]) == (
        "TYPE_STRING",
        "TYPE_BOOL",
        "TYPE_UINT8",
        "TYPE_FP16",
    )


def _stats(service: Service, path: str = "/m") -> dict[str, dict[str, int]]:
    (found,) = document(service.get(f"/v2/models{path}/stats"))["model_stats"]
    return {**found["inference_stats"], "whole": found}


def test_statistics_are_those_of_real_requests_over_both_ways_in(make_service: Start, store: Store) -> None:
    store.add("v1", 1)
    service = make_service(store.home, WORKERS="2").ready()
    before = _stats(service)
    assert before["success"] == {"count": 0, "ns": 0}
    assert before["whole"]["last_inference"] == 0
    for _ in range(3):
        assert infer(service, pixels()).status_code == 200
        assert infer(service, pictures(picture())).status_code == 200
        assert service.predict(model="m").status_code == 200
        service.hang_up()  # the next connection may be another worker's
    assert infer(service, pixels(), version="9").status_code == 404
    after = _stats(service)
    assert [after[name]["count"] for name in _DURATIONS] == [9, 1, 9, 9, 9, 9]
    assert all(after[name]["ns"] > 0 for name in _DURATIONS)
    parts = ("queue", "compute_input", "compute_infer", "compute_output")
    assert sum(after[name]["ns"] for name in parts) < after["success"]["ns"] < 60 * 10**9
    whole = after["whole"]
    assert (whole["inference_count"], whole["execution_count"]) == (9, 9)
    assert whole["last_inference"] > 1_600_000_000_000
    assert _stats(service, "/m/versions/1") == _stats(service, "") == after


def test_statistics_are_told_by_version(make_service: Start, store: Store) -> None:
    store.add("v1", 1)
    service = make_service(store.home).ready()
    assert infer(service, pixels()).status_code == 200
    store.add("v2", 2)
    service.serves("v2")
    assert infer(service, pixels()).status_code == 200
    assert infer(service, pixels()).status_code == 200
    found = document(service.get("/v2/models/m/stats"))["model_stats"]
    assert {each["version"]: each["inference_count"] for each in found} == {"1": 1, "2": 2}


#: What perf_analyzer 2.49 sends for `-m m -i http --shape image:1,3,32,32`, in its order and its words.
_ASKED = (
    ("GET", "/v2/models/m", {}),
    ("GET", "/v2/models/m/config", {}),
    ("GET", "/v2", {}),
    ("GET", "/v2/models/m/stats", {}),
)


def test_its_requests_are_answered_in_its_words(v2: Service) -> None:
    headers = {"accept": "*/*", "user-agent": ""}
    for method, path, sent in _ASKED:
        assert v2.client.request(method, path, headers=headers, **sent).status_code == 200
    text = json.dumps(
        {
            "id": "0",
            "inputs": [
                {
                    "name": "image",
                    "shape": [1, 3, 32, 32],
                    "datatype": "FP32",
                    "parameters": {"binary_data_size": 12288},
                }
            ],
            "outputs": [{"name": "scores", "parameters": {"binary_data": True}}],
        },
        separators=(",", ":"),
    ).encode()
    answer = v2.client.post(
        "/v2/models/m/infer",
        content=text + bytes(12288),
        headers={
            **headers,
            "expect": "",
            "content-type": "application/octet-stream",
            "inference-header-content-length": str(len(text)),
        },
    )
    assert document(answer)["outputs"][0]["parameters"] == {"binary_data_size": 8}
