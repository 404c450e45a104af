"""What Triton's clients ask for and is not here is refused with the reason, and never with a bare 404."""

from __future__ import annotations

from typing import Any

import pytest

from api.open_inference import not_supported
from api.protos import inference_pb2 as pb
from tests.api.grpc.oip_client import Client, Code, Input
from tests.api.open_inference.asking import binary, failed, infer, infer_binary, pixels
from tests.e2e.harness import Service
from tests.e2e.sizes import LIMIT

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(LIMIT)]

SHARED = [
    f"/v2/{kind}sharedmemory{path}"
    for kind in ("system", "cuda")
    for path in (
        "/status",
        "/region/x/status",
        "/region/x/register",
        "/region/x/unregister",
        "/unregister",
        "",
    )
]
OTHERS = [
    "/v2/trace/setting",
    "/v2/models/m/trace/setting",
    "/v2/logging",
    "/v2/models/m/generate",
    "/v2/models/m/versions/2/generate_stream",
]


@pytest.mark.parametrize("path", [*SHARED, *OTHERS])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_over_http_each_path_says_why(v2: Service, path: str, method: str) -> None:
    message = failed(v2.client.request(method, path), 501)
    assert ("send tensor data" in message) == (path in SHARED)


@pytest.mark.parametrize("path", ["/v2/sharedmemory", "/v2/trace", "/v2/models/m/generated", "/v2/logging/x"])
def test_other_paths_are_none(v2: Service, path: str) -> None:
    failed(v2.client.get(path), 404)


@pytest.mark.parametrize("method", list(not_supported.METHODS))
@pytest.mark.parametrize("message", [b"", b"\x0a\x01x", b"\xff\xff\xff"])
def test_over_grpc_each_method_says_why(v2: Service, method: str, message: bytes) -> None:
    rpc = Client(v2.grpc_address)
    with rpc.channel:
        call = rpc.channel.unary_unary(f"/inference.GRPCInferenceService/{method}")
        said = rpc.fails(Code.UNIMPLEMENTED, lambda: call(message, timeout=10))
    assert said == not_supported.METHODS[method]


REGION: dict[str, Any] = {"shared_memory_region": "x", "shared_memory_byte_size": 12_288}


def test_tensors_in_shared_memory_are_refused_with_the_reason(v2: Service) -> None:
    given = {name: value for name, value in pixels().items() if name != "data"}
    output = [{"name": "scores", "parameters": REGION}]
    told = [
        failed(infer(v2, given | {"parameters": REGION}), 400),
        failed(infer(v2, pixels(), outputs=output), 400),
        failed(infer_binary(v2, binary("image", "FP32", [1, 3, 32, 32], bytes(12_288)), outputs=output), 400),
    ]
    parameters = {
        "shared_memory_region": pb.InferParameter(string_param="x"),
        "shared_memory_byte_size": pb.InferParameter(int64_param=12_288),
    }
    about = Input(name="image", datatype="FP32", shape=[1, 3, 32, 32], parameters=parameters)
    rpc = Client(v2.grpc_address)
    with rpc.channel:
        told.append(rpc.refused(Code.INVALID_ARGUMENT, about))
    assert all("send tensor data in the request" in each for each in told)
