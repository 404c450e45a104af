"""A client of the Open Inference Protocol over gRPC, and the tensors that tests send."""

from __future__ import annotations

from typing import Any

import grpc
import numpy as np
import pytest

from api.protos import inference_pb2 as pb
from api.protos.inference_pb2_grpc import GRPCInferenceServiceStub
from tests.e2e.harness import ROOT
from tests.e2e.pictures import picture
from tests.e2e.sizes import SOON

JPEG = picture()
SHAPES = sorted((ROOT / "examples/shapes/pictures").glob("*.jpg"))[:3]
Code = grpc.StatusCode
Input = pb.ModelInferRequest.InferInputTensor
Output = pb.ModelInferRequest.InferRequestedOutputTensor


class Client:
    """One channel; every method with a limit."""

    def __init__(self, address: str) -> None:
        self.channel = grpc.insecure_channel(address)
        self.stub: Any = GRPCInferenceServiceStub(self.channel)

    def __getattr__(self, method: str) -> Any:
        def call(request: Any, **more: Any) -> Any:
            return getattr(self.stub, method)(request, **({"timeout": SOON} | more))

        return call

    def infer(self, *inputs: Any, model: str = "m", **more: Any) -> pb.ModelInferResponse:
        """One infer request."""
        return self.ModelInfer(pb.ModelInferRequest(model_name=model, inputs=inputs, **more))

    def refused(self, code: grpc.StatusCode, *inputs: Any, **more: Any) -> str:
        """Assert that an infer request is refused; the message."""
        return self.fails(code, lambda: self.infer(*inputs, **more))

    @staticmethod
    def fails(code: grpc.StatusCode, call: Any) -> str:
        """Assert that a call ends with this code and names its request; the message."""
        with pytest.raises(grpc.RpcError) as caught:
            call()
        error: Any = caught.value
        assert error.code() is code, error
        assert dict(error.trailing_metadata())["x-request-id"]
        assert error.details()
        assert "Traceback" not in error.details()
        return str(error.details())


def pixels(rows: int = 1, **more: Any) -> Any:
    """The input of the graphs, typed."""
    contents = pb.InferTensorContents(fp32_contents=[0.5] * (rows * 3072))
    return Input(
        **({"name": "image", "datatype": "FP32", "shape": [rows, 3, 32, 32], "contents": contents} | more)
    )


def raw_pixels() -> tuple[Any, bytes]:
    """The same, raw."""
    about = Input(name="image", datatype="FP32", shape=[1, 3, 32, 32])
    return about, np.full(3072, 0.5, "<f4").tobytes()


def pictures(*images: bytes, name: str = "image") -> Any:
    """Pictures, typed."""
    contents = pb.InferTensorContents(bytes_contents=images)
    return Input(name=name, datatype="BYTES", shape=[len(images)], contents=contents)


def outputs(answer: pb.ModelInferResponse) -> dict[str, Any]:
    """Typed outputs by name."""
    found = {}
    for each in answer.outputs:
        ((_, values),) = each.contents.ListFields() or (("", ()),)
        found[each.name] = np.array(list(values)).reshape(tuple(each.shape))
    return found
