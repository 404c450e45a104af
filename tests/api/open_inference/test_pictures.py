"""Pictures by the protocol over HTTP, as `/predict` answers them."""

from __future__ import annotations

import base64
import struct
from typing import Any

import numpy as np
import pytest

from api.protos import inference_pb2 as pb
from tests.api.grpc.oip_client import Client, Code, Input
from tests.api.grpc.oip_client import pictures as typed_pictures
from tests.api.open_inference.asking import (
    binary,
    document,
    failed,
    infer,
    infer_binary,
    outputs,
    packed,
    pictures,
)
from tests.e2e.harness import ROOT, Service
from tests.e2e.pictures import picture
from tests.e2e.sizes import LIMIT

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(LIMIT)]

JPEG = picture()


def bmp_header(width: int, height: int) -> bytes:
    """The beginning of a BMP of that many pixels."""
    return (
        b"BM"
        + struct.pack("<IHHI", 54, 0, 0, 54)
        + struct.pack("<IiiHHIIiiII", 40, width, height, 1, 24, *[0] * 6)
    )


SHAPES = sorted((ROOT / "examples/shapes/pictures").glob("*.jpg"))[:3]


def test_pictures_are_answered_as_predict_answers_them(v2: Service) -> None:
    images = [file.read_bytes() for file in SHAPES]
    found = outputs(infer(v2, pictures(*images), model="shapes", parameters={"threshold": 0.4}))
    assert list(found) == ["num_detections", "boxes", "scores", "label_ids", "labels"]
    told = [v2.predict(image, model="shapes", threshold="0.4").json()["detections"] for image in images]
    most = max(map(len, told))
    assert most > 1
    assert found["num_detections"] == [len(each) for each in told]
    boxes = np.array(found["boxes"]).reshape(3, most, 4)
    scores = np.array(found["scores"]).reshape(3, most)
    ids, labels = np.array(found["label_ids"]).reshape(3, most), np.array(found["labels"]).reshape(3, most)
    for row, detections in enumerate(told):
        count = len(detections)
        assert np.allclose(boxes[row, :count], [each["bbox"] for each in detections], atol=1e-6)
        assert np.allclose(scores[row, :count], [each["score"] for each in detections], atol=1e-6)
        assert ids[row].tolist() == [each["label_id"] for each in detections] + [-1] * (most - count)
        assert labels[row].tolist() == [each["label"] for each in detections] + [""] * (most - count)


def test_pictures_obey_threshold_and_max_detections(v2: Service) -> None:
    sent = pictures(SHAPES[0].read_bytes())
    few = outputs(infer(v2, sent, model="shapes", parameters={"threshold": 0.0, "max_detections": 2}))
    assert few["num_detections"] == [2]
    none = outputs(infer(v2, sent, model="shapes", parameters={"threshold": 1.0}))
    assert (none["num_detections"], none["boxes"]) == ([0], [])
    for wrong in ({"threshold": 1.5}, {"threshold": "x"}, {"max_detections": 0}, {"max_detections": 1.5}):
        failed(infer(v2, sent, model="shapes", parameters=wrong), 400)


def test_pictures_of_an_embedder_become_vectors(v2: Service) -> None:
    found = document(infer(v2, pictures(JPEG, JPEG), model="embed"))["outputs"]
    assert [(each["name"], each["datatype"], each["shape"]) for each in found] == [
        ("embedding", "FP32", [2, 2])
    ]
    assert np.allclose(found[0]["data"], v2.predict(model="embed").json()["embedding"] * 2, atol=1e-6)


def test_too_many_pictures_are_told_how_many_there_may_be(v2: Service) -> None:
    assert len(outputs(infer(v2, pictures(*[JPEG] * 32)))["labels"]) == 32
    assert "32" in failed(infer(v2, pictures(*[JPEG] * 33)), 400)
    for wrong in ({"shape": []}, {"shape": [0], "data": []}, {"data": [""]}, {"data": ["not base64!"]}):
        failed(infer(v2, pictures(JPEG) | wrong), 400)


@pytest.mark.parametrize("shape", [[2], [2, 1], [2, 1, 1]], ids=str)
def test_a_batch_of_one_picture_each_is_that_many_pictures(v2: Service, shape: list[int]) -> None:
    """As clients send them to models whose first side is the batch; answers are as for [N]."""
    images = [each.read_bytes() for each in SHAPES[:2]]
    flat = pictures(*images)
    nested: Any = flat["data"]
    for _ in shape[1:]:
        nested = [[each] for each in nested]
    usual = document(infer(v2, flat, model="shapes"))["outputs"]
    about = {"name": "image", "datatype": "BYTES", "shape": shape}
    for data in (flat["data"], nested):
        assert document(infer(v2, about | {"data": data}, model="shapes"))["outputs"] == usual
    raw = binary("image", "BYTES", shape, packed(*images))
    assert document(infer_binary(v2, raw, model="shapes"))["outputs"] == usual
    rpc = Client(v2.grpc_address)
    contents = pb.InferTensorContents(bytes_contents=images)
    with rpc.channel:
        typed = rpc.infer(Input(**about, contents=contents), model="shapes")
        sent = rpc.infer(Input(**about), model="shapes", raw_input_contents=[packed(*images)])
    assert [list(each.shape) for each in typed.outputs] == [each["shape"] for each in usual]
    assert [list(each.shape) for each in sent.outputs] == [each["shape"] for each in usual]


@pytest.mark.parametrize("shape", [[1, 2], [2, 2], [1], [3], [3, 1], [2, 0], [0, 1], [1, 1, 2]], ids=str)
def test_another_shape_of_two_pictures_is_refused(v2: Service, shape: list[int]) -> None:
    failed(infer(v2, pictures(JPEG, JPEG) | {"shape": shape}), 400)
    failed(infer_binary(v2, binary("image", "BYTES", shape, packed(JPEG, JPEG))), 400)
    rpc = Client(v2.grpc_address)
    contents = pb.InferTensorContents(bytes_contents=[JPEG, JPEG])
    with rpc.channel:
        about = {"name": "image", "datatype": "BYTES", "shape": shape}
        rpc.refused(Code.INVALID_ARGUMENT, Input(**about, contents=contents))
        rpc.refused(Code.INVALID_ARGUMENT, Input(**about), raw_input_contents=[packed(JPEG, JPEG)])


BROKEN = [
    (b"\xff\xd8\xff", "the JPEG has no pixels"),
    (b"GIF89a" + bytes(20), "GIF"),
    (bmp_header(30_000, 30_000), "30000x30000"),
    (b"", "image: empty"),
]


@pytest.mark.parametrize(("broken", "said"), BROKEN, ids=["broken", "format", "pixels", "empty"])
def test_a_picture_that_cannot_be_read_is_named_among_others_and_alone_it_is_not(
    v2: Service, broken: bytes, said: str
) -> None:
    images = [JPEG, JPEG, broken, JPEG]
    raw = [binary("image", "BYTES", [len(each)], packed(*each)) for each in (images, [broken])]
    rpc = Client(v2.grpc_address)
    with rpc.channel:
        grpc = [
            rpc.refused(Code.INVALID_ARGUMENT, typed_pictures(*images)),
            rpc.refused(
                Code.INVALID_ARGUMENT,
                Input(name="image", datatype="BYTES", shape=[4]),
                raw_input_contents=[packed(*images)],
            ),
        ]
    for told in (failed(infer(v2, pictures(*images)), 400), failed(infer_binary(v2, raw[0]), 400), *grpc):
        assert told.startswith("picture 3 of 4 (index 2): ")
        assert said in told
    for told in (failed(infer(v2, pictures(broken)), 400), failed(infer_binary(v2, raw[1]), 400)):
        assert said in told
        assert "picture 1" not in told


def test_a_text_that_is_no_base64_is_named_among_others(v2: Service) -> None:
    sent = pictures(JPEG, JPEG)
    sent["data"][1] = "not base64!"
    assert failed(infer(v2, sent), 400).startswith("picture 2 of 2 (index 1): image: not base64")


def test_base64_may_have_line_breaks(v2: Service) -> None:
    broken = base64.encodebytes(JPEG).decode()
    assert outputs(infer(v2, pictures(JPEG) | {"data": [broken]})) == outputs(infer(v2, pictures(JPEG)))
