"""What every deployment promises: `/predict`, `/v2`, gRPC, health, the document of the API, and a swap.

OKAWARI_CONTRACT_URL, OKAWARI_CONTRACT_GRPC (host:port) and OKAWARI_CONTRACT_IMPORT (the command that imports
shapes:v2 into its store) ask one that runs; its store has the demo models as `okawari init` brings them.
"""

from __future__ import annotations

import base64
import threading
import time
from typing import Any

import grpc
import httpx
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tests.contract.conftest import Deployment
from tests.e2e.harness import ROOT
from tests.e2e.sizes import LIMIT
from tests.e2e.waiting import until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(LIMIT)]

PICTURE = (ROOT / "examples" / "shapes" / "pictures" / "shapes-1117.jpg").read_bytes()
VERSIONS = {"v1", "v2"}


def _predict(client: httpx.Client, **query: str) -> httpx.Response:
    return client.post("/predict", params=query, files={"image": ("p.jpg", PICTURE, "image/jpeg")})


def test_it_lives_and_is_ready_and_healthy(client: httpx.Client) -> None:
    for path in ("/livez", "/readyz", "/v2/health/live", "/v2/health/ready"):
        assert client.get(path).status_code == 200, path
    until(lambda: client.get("/health").json()["status"] == "healthy", "it is healthy")
    report = client.get("/health")
    assert report.status_code == 200
    assert set(report.json()["models_loaded"]) == {"exposure", "shapes"}


def test_predict_names_the_version_that_answered(client: httpx.Client) -> None:
    answer = _predict(client, model="shapes")
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert (body["model"], body["model_version"] in VERSIONS) == ("shapes", True)
    for found in body["detections"]:
        assert 0 <= found["score"] <= 1
        assert found["label"]
    assert body["detections"]
    drawn = client.post("/predict/annotated", files={"image": ("p.jpg", PICTURE, "image/jpeg")})
    assert (drawn.status_code, drawn.headers["content-type"]) == (200, "image/jpeg")
    assert drawn.content[:2] == b"\xff\xd8"


def test_a_mistake_of_the_client_is_told_as_one(client: httpx.Client) -> None:
    answer = client.post("/predict", files={"image": ("p.jpg", b"no picture", "image/jpeg")})
    assert 400 <= answer.status_code < 500
    assert answer.json()["error"]["code"]
    assert _predict(client, model="none-of-ours").status_code == 404
    assert client.get("/v2/models/none-of-ours").json().keys() == {"error"}


def test_the_open_inference_protocol_answers_with_the_same_detections(client: httpx.Client) -> None:
    described = client.get("/v2/models/shapes").json()
    assert described["name"] == "shapes"
    image = {
        "name": "image",
        "datatype": "BYTES",
        "shape": [1],
        "data": [base64.b64encode(PICTURE).decode()],
    }
    answer = client.post("/v2/models/shapes/infer", json={"inputs": [image]})
    assert answer.status_code == 200, answer.text
    outputs: dict[str, Any] = {each["name"]: each["data"] for each in answer.json()["outputs"]}
    told = _predict(client, model="shapes", version=answer.json()["model_version"])
    assert outputs["num_detections"] == [len(told.json()["detections"])]


def test_grpc_tells_that_it_serves(deployment: Deployment) -> None:
    with grpc.insecure_channel(deployment.grpc) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        answer = stub.Check(health_pb2.HealthCheckRequest(), timeout=10, wait_for_ready=True)
    assert answer.status == health_pb2.HealthCheckResponse.SERVING


def test_what_the_document_of_the_api_lists_is_there(client: httpx.Client) -> None:
    document = client.get("/docs.json").json()
    assert document["openapi"].startswith("3.")
    assert {"/predict", "/predict/annotated", "/models", "/health", "/metrics"} <= document["paths"].keys()
    reads = {path: ways["get"]["responses"] for path, ways in document["paths"].items() if "get" in ways}
    plain = {path: told for path, told in reads.items() if "{" not in path}
    assert plain
    for path, told in plain.items():
        status = client.get(path).status_code
        assert str(status) in told, f"GET {path} answered {status}, which the document does not list"


def test_metrics_count_what_was_answered(client: httpx.Client) -> None:
    assert _predict(client, model="shapes").status_code == 200
    assert 'inference_requests_total{model="shapes"' in client.get("/metrics").text


@pytest.mark.timeout(2 * LIMIT)  # an import gives way to all others
def test_a_version_that_is_imported_answers_and_no_request_is_lost(
    deployment: Deployment, client: httpx.Client
) -> None:
    told: list[tuple[int, str]] = []
    ending = threading.Event()

    def ask() -> None:
        with httpx.Client(base_url=deployment.url, timeout=30, trust_env=False) as asking:
            while not ending.is_set():
                answer = _predict(asking, model="shapes")
                told.append((answer.status_code, answer.json().get("model_version", answer.text)))
                time.sleep(0.02)

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        until(lambda: len(told) >= 5, "answers before the swap")
        deployment.import_second_version()
        until(lambda: told[-1] == (200, "v2"), "shapes:v2 answers")
    finally:
        ending.set()
        for thread in threads:
            thread.join()
    versions = [version for _, version in told]
    assert {status for status, _ in told} == {200}
    assert versions[0] == "v1"
    assert set(versions) == VERSIONS
    # Both clients had a request under way at the swap, at most.
    assert "v1" not in versions[versions.index("v2") + 2 :]
    assert client.get("/models/shapes").json()["serving"] == "v2"
