"""The protocol's rules for gRPC on the real service: what is refused, and how, G7."""

from __future__ import annotations

from typing import Any

import grpc
import pytest

from api.protos import inference_pb2 as pb
from tests.api.grpc.oip_client import (
    JPEG,
    Client,
    Code,
    Input,
    pictures,
    pixels,
)
from tests.api.open_inference.conftest import MAX_BODY
from tests.e2e.sizes import LIMIT, SOON

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(LIMIT)]


def _two_fields() -> pb.InferTensorContents:
    return pb.InferTensorContents(fp32_contents=[0.5] * 3072, int_contents=[1])


@pytest.mark.parametrize(
    ("inputs", "said"),
    [
        ([], "at least one"),
        ([pixels(name="ghost")], "ghost"),
        ([pixels(datatype="FP99")], "datatype"),
        ([pixels(shape=[1, 3, 32])], "3072"),
        ([pixels(shape=[-1, 3, 32, 32])], "shape"),
        ([pixels(shape=[2**40, 2**40])], "shape"),
        ([pixels(datatype="FP64")], "fp64_contents"),
        ([pixels(contents=_two_fields())], "['int_contents', 'fp32_contents']"),
        ([pixels(), pixels()], "duplicate"),
        ([Input(name="image", datatype="FP32", shape=[1, 3, 32, 32])], "found 0"),
        ([pictures()], "pictures"),
        ([pictures(b"")], "empty"),
        ([pictures(b"no picture")], "JPEG, PNG, WebP"),
        ([pictures(JPEG[: len(JPEG) // 2])], "the JPEG has no pixels"),
        ([pixels(shape=[2**63 - 1, 2**63 - 1, 0])], "shape"),
        ([pixels(shape=[-(2**63)])], "shape"),
        ([pixels(shape=[1] * 33)], "shape"),
        ([pictures(*[JPEG] * 40)], "pictures"),
    ],
)
def test_g7_what_is_wrong_with_a_request_is_told(rpc: Client, inputs: list[Any], said: str) -> None:
    assert said in rpc.refused(Code.INVALID_ARGUMENT, *inputs)
    assert rpc.infer(pixels()).model_version == "v2"


def test_g7_values_out_of_range_are_refused_and_not_wrapped(rpc: Client) -> None:
    for datatype, field, value in (
        ("INT8", "int_contents", 128),
        ("UINT16", "uint_contents", 2**16),
        ("INT16", "int_contents", -(2**15) - 1),
    ):
        contents = pb.InferTensorContents(**{field: [value]})
        wrong = Input(name="image", datatype=datatype, shape=[1], contents=contents)
        assert "range" in rpc.refused(Code.INVALID_ARGUMENT, wrong)


def test_g7_statuses_of_models_versions_sizes_and_methods(rpc: Client) -> None:
    rpc.refused(Code.NOT_FOUND, pixels(), model="nobody")
    rpc.refused(Code.NOT_FOUND, pixels(), model_version="v10")
    rpc.refused(Code.FAILED_PRECONDITION, pixels(), model_version="1")
    rpc.refused(Code.UNAVAILABLE, pixels(), model="bad")
    with pytest.raises(grpc.RpcError) as caught:
        rpc.infer(pictures(b"x" * MAX_BODY))
    error: Any = caught.value
    assert error.code() is Code.RESOURCE_EXHAUSTED
    missing = rpc.channel.unary_unary("/inference.GRPCInferenceService/ModelNothing")
    with pytest.raises(grpc.RpcError) as caught:
        missing(b"", timeout=SOON)
    error = caught.value
    assert error.code() is Code.UNIMPLEMENTED


def test_g7_bytes_that_are_no_message_are_the_callers_fault(rpc: Client) -> None:
    send = rpc.channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
    assert "message" in rpc.fails(Code.INVALID_ARGUMENT, lambda: send(b"\xff\xff\xff", timeout=SOON))
