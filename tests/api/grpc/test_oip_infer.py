"""The protocol's rules for gRPC on the real service: infer requests and answers, G3 to G6."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
import pytest

from api.protos import inference_pb2 as pb
from tests import builders
from tests.api.grpc.oip_client import (
    JPEG,
    SHAPES,
    Client,
    Code,
    Input,
    Output,
    outputs,
    pictures,
    pixels,
    raw_pixels,
)
from tests.api.open_inference import asking
from tests.api.open_inference.asking import packed
from tests.api.open_inference.typed_model import CONSTANTS
from tests.e2e.harness import Service
from tests.e2e.sizes import LIMIT, SOON

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(LIMIT)]


def test_g3_and_g4_an_answer_names_the_version_that_gave_it_and_the_request(rpc: Client) -> None:
    answer, call = rpc.stub.ModelInfer.with_call(
        pb.ModelInferRequest(model_name="m", id="mine", inputs=[pixels()]),
        timeout=SOON,
        metadata=(("x-request-id", "told-1"),),
    )
    assert (answer.model_name, answer.model_version, answer.id) == ("m", "v2", "mine")
    assert answer.parameters["generation"].int64_param == 1
    assert answer.parameters["digest"].string_param.startswith("sha256:")
    assert dict(call.trailing_metadata()) == {"x-request-id": "told-1", "x-model-version": "v2"}
    assert builders.code_of(outputs(answer)["scores"].ravel()[0]) == 2
    for version in ("v2", "2"):
        assert rpc.infer(pixels(), model_version=version).model_version == "v2"


def test_g4_outputs_that_are_named_come_in_that_order_and_others_are_refused(rpc: Client) -> None:
    answer = rpc.infer(pixels(), model="types", outputs=[Output(name="int8"), Output(name="bool")])
    assert [each.name for each in answer.outputs] == ["int8", "bool"]
    assert "ghost" in rpc.refused(Code.INVALID_ARGUMENT, pixels(), outputs=[Output(name="ghost")])
    twice = [Output(name="bool"), Output(name="bool")]
    rpc.refused(Code.INVALID_ARGUMENT, pixels(), model="types", outputs=twice)


@pytest.mark.parametrize("name", [name for name in CONSTANTS if name not in ("fp16", "nan")])
def test_g5_every_datatype_has_its_own_field(rpc: Client, name: str) -> None:
    answer = rpc.infer(pixels(), model="types", outputs=[Output(name=name)])
    (told,) = answer.outputs
    ((field, values),) = told.contents.ListFields()
    expected = CONSTANTS[name]
    assert list(told.shape) == list(expected.shape)
    if name == "bytes":
        assert list(values) == [each.encode() for each in expected]
    else:
        assert np.array_equal(np.array(values, expected.dtype).reshape(expected.shape), expected)
    kinds = {"BOOL": "bool", "BYTES": "bytes", "FP32": "fp32", "FP64": "fp64"}
    kinds |= {"INT64": "int64", "UINT64": "uint64"}
    small = "uint" if told.datatype.startswith("U") else "int"
    assert field.name == f"{kinds.get(told.datatype, small)}_contents"
    assert not answer.raw_output_contents


@pytest.mark.parametrize("name", list(CONSTANTS))
def test_g6_raw_is_answered_raw_with_the_same_values(rpc: Client, name: str) -> None:
    about, data = raw_pixels()
    answer = rpc.infer(about, model="types", outputs=[Output(name=name)], raw_input_contents=[data])
    (told,), (found,) = answer.outputs, answer.raw_output_contents
    assert not told.HasField("contents")
    expected = CONSTANTS[name]
    if name == "bytes":
        assert found == packed(*(each.encode() for each in expected))
    else:
        little = np.frombuffer(found, expected.dtype.newbyteorder("<")).reshape(tuple(told.shape))
        assert np.array_equal(little, expected, equal_nan=expected.dtype.kind == "f")


def test_g6_what_has_no_field_comes_raw_with_all_others(rpc: Client) -> None:
    answer = rpc.infer(pixels(), model="types", outputs=[Output(name="int8"), Output(name="fp16")])
    assert [len(each) for each in answer.raw_output_contents] == [2, 4]
    assert not any(each.HasField("contents") for each in answer.outputs)


def test_g6_raw_and_typed_inputs_do_not_mix(rpc: Client) -> None:
    about, data = raw_pixels()
    nothing = pb.InferTensorContents()
    for inputs, raw, said in (
        ([pixels()], [data], "no input may have contents"),
        (
            [Input(name="image", datatype="FP32", shape=[0], contents=nothing)],
            [b""],
            "no input may have contents",
        ),
        ([about, pixels(name="other")], [data, data], "no input may have contents"),
        ([about], [data, data], "one entry for each of 1 inputs, found 2"),
        ([about, raw_pixels()[0]], [data], "duplicate name"),
        ([about, Input(name="other", datatype="FP32", shape=[1])], [data], "each of 2 inputs, found 1"),
        ([about], [data[:-1]], "takes 12288 bytes, found 12287"),
        ([about], [b""], "takes 12288 bytes, found 0"),
        (
            [Input(name="image", datatype="FP16", shape=[1], contents=nothing)],
            [],
            "send it as raw_input_contents",
        ),
        (
            [Input(name="i", datatype="BYTES", shape=[1])],
            [struct.pack("<I", 9) + b"x"],
            "has 9 bytes, but 1 are left",
        ),
        ([Input(name="i", datatype="BYTES", shape=[1])], [packed(JPEG) + b"x"], "found 1 in the first"),
    ):
        assert said in rpc.refused(Code.INVALID_ARGUMENT, *inputs, raw_input_contents=raw)


def test_g6_pictures_come_raw_or_typed_and_are_answered_alike(rpc: Client, v2: Service) -> None:
    images = [each.read_bytes() for each in SHAPES]
    typed = rpc.infer(pictures(*images), model="shapes")
    about = Input(name="anything", datatype="BYTES", shape=[len(images)])
    raw = rpc.infer(about, model="shapes", raw_input_contents=[packed(*images)])
    over_http = asking.outputs(asking.infer(v2, asking.pictures(*images), model="shapes"))
    found = outputs(typed)
    assert list(found) == [each.name for each in raw.outputs] == list(over_http)
    for name, bytes_ in zip(found, raw.raw_output_contents, strict=True):
        expected = np.array(over_http[name])
        if name == "labels":
            assert [each.decode() for each in found[name].ravel()] == expected.ravel().tolist()
            continue
        assert np.allclose(found[name].ravel(), expected.ravel(), atol=1e-6)
        dtype = "<i4" if name in ("num_detections", "label_ids") else "<f4"
        assert np.allclose(np.frombuffer(bytes_, dtype), expected.ravel(), atol=1e-6)
    assert found["num_detections"].min() > 0


def test_g3_parameters_of_pictures_are_read_and_unknown_extensions_refused(rpc: Client) -> None:
    def answer(**values: Any) -> int:
        parameters = {name: pb.InferParameter(**value) for name, value in values.items()}
        image = SHAPES[0].read_bytes()
        found = outputs(rpc.infer(pictures(image), model="shapes", parameters=parameters))
        return int(found["num_detections"][0])

    assert answer(threshold={"double_param": 0.999}) < answer(threshold={"double_param": 0.01})
    assert answer(max_detections={"int64_param": 1}) == 1
    assert answer(max_detections={"uint64_param": 1}) == 1
    for wrong in (
        {"threshold": {"double_param": 2.0}},
        {"threshold": {"string_param": "high"}},
        {"max_detections": {"int64_param": -1}},
        {"max_detections": {}},
        {"shared_memory_region": {"string_param": "r"}},
    ):
        rpc.fails(Code.INVALID_ARGUMENT, lambda wrong=wrong: answer(**wrong))
