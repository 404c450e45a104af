"""The protocol's rules for HTTP, R1 to R5: health, readiness, metadata."""

from __future__ import annotations

import pytest

from api.protos import inference_pb2 as pb
from tests.api.grpc.oip_client import Client, Code
from tests.api.grpc.oip_client import pixels as over_grpc
from tests.api.open_inference import asking
from tests.api.open_inference.asking import document, failed, infer, pixels
from tests.api.open_inference.typed_model import CONSTANTS
from tests.e2e.harness import Service
from tests.e2e.reporting import Start
from tests.e2e.sizes import LIMIT
from tests.e2e.stores import Store

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(LIMIT)]


def test_r1_the_service_lives(v2: Service) -> None:
    assert document(v2.get("/v2/health/live")) == {"live": True}
    assert v2.client.head("/v2/health/live").status_code == 200


def test_r2_g1_ready_means_that_required_models_serve(v2: Service, make_service: Start, store: Store) -> None:
    assert document(v2.get("/v2/health/ready")) == {"ready": True}
    empty = make_service(store.home).start()
    answer = empty.get("/v2/health/ready")
    assert "no model serves yet" in failed(answer, 503)
    assert answer.headers["retry-after"] == "1"
    assert document(empty.get("/v2/health/live")) == {"live": True}
    failed(infer(empty, pixels()), 404)
    client = Client(empty.grpc_address)
    with client.channel:
        assert client.ServerLive(pb.ServerLiveRequest()).live
        assert not client.ServerReady(pb.ServerReadyRequest()).ready
        client.refused(Code.NOT_FOUND, over_grpc())


def test_r3_a_model_and_a_version_are_ready_or_not(v2: Service) -> None:
    for version in (None, "v2", "2"):
        answer = v2.get(asking.path("m", version, "/ready"))
        assert document(answer) == {"name": "m", "ready": True}
    assert "v1" in failed(v2.get("/v2/models/m/versions/1/ready"), 400)
    failed(v2.get("/v2/models/bad/ready"), 400)
    failed(v2.get("/v2/models/nobody/ready"), 404)
    failed(v2.get("/v2/models/m/versions/v10/ready"), 404)


@pytest.mark.parametrize("path", ["/v2", "/v2/"])
def test_r4_the_service_tells_its_extensions(v2: Service, path: str) -> None:
    found = document(v2.get(path))
    assert set(found) == {"name", "version", "extensions"}
    assert found["name"] == "okawari"
    assert {"binary_tensor_data", "model_repository", "model_configuration", "statistics"} <= set(
        found["extensions"]
    )


@pytest.mark.parametrize("version", [None, "v2", "2"])
def test_r5_metadata_are_those_of_the_graph(v2: Service, version: str | None) -> None:
    found = document(v2.get(asking.path("m", version, "")))
    digest = v2.states("m")["v2"]["digest"]
    assert found == {
        "name": "m",
        "versions": ["v2"],
        "platform": "onnxruntime_onnx",
        "inputs": [{"name": "image", "datatype": "FP32", "shape": [-1, 3, 32, 32]}],
        "outputs": [{"name": "scores", "datatype": "FP32", "shape": [-1, 2]}],
        "properties": {
            "picture_input": "image",
            "picture_outputs": "scores,label_ids,labels",
            "task": "image-classification",
            "digest": digest,
        },
    }


def test_r5_metadata_tell_every_datatype(v2: Service) -> None:
    told = {each["name"]: each for each in document(v2.get("/v2/models/types"))["outputs"]}
    for name, value in CONSTANTS.items():
        wanted = "FP32" if name in ("nan", "wide") else name.upper()
        assert told[name] == {"name": name, "datatype": wanted, "shape": list(value.shape)}
