"""Infer requests on the core: tensors and pictures."""

from __future__ import annotations

import base64
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from api.open_inference import images
from api.open_inference.inference import Inference
from api.open_inference.types import InferRequest, InferResponse, Tensor
from hotswap.errors import BadRequest, ModelNotFound, ServingError, VersionNotFound, VersionNotLoaded
from hotswap.events import Outcome
from hotswap.predictions import Detection, Prediction
from tests.hotswap.world import LiveWorld, live

ROWS = Tensor("x", "FP32", (2, 2), np.zeros((2, 2), np.float32))
PICTURES = Tensor("anything", "BYTES", (2,), [b"one", b"two"])


def request(*inputs: Tensor, model: str = "m", **more: Any) -> InferRequest:
    """A request of one minute."""
    return InferRequest(model=model, inputs=inputs, request_id="r", deadline=time.monotonic() + 60, **more)


async def answered(world: LiveWorld, asked: InferRequest) -> InferResponse:
    """The answer, given at once."""
    return await Inference(world.data_plane).infer(asked, Outcome())


def values(response: InferResponse) -> dict[str, Any]:
    """Outputs by name, as lists."""
    return {
        each.name: each.data.tolist() if isinstance(each.data, np.ndarray) else list(each.data)
        for each in response.outputs
    }


@pytest.mark.anyio
async def test_tensors_go_into_the_graph_and_the_version_used_is_named() -> None:
    with live("m:v1", "m:v2", codes={"v2": 7}) as world:
        await world.reconciler.view.wait_until(lambda: world.serving() == "v2", 5.0)
        answer = await answered(world, request(ROWS, id="mine"))
    assert (answer.model, answer.version, answer.id) == ("m", "v2", "mine")
    assert answer.parameters == {"digest": "sha256:1", "generation": 1}
    assert values(answer) == {"code": [7.0, 7.0]}
    assert (answer.outputs[0].datatype, answer.outputs[0].shape) == ("FP32", (2,))


@pytest.mark.anyio
async def test_b7_one_bytes_input_of_any_name_is_pictures() -> None:
    with live("m:v1", codes={"v1": 3}) as world:
        await world.reconciler.view.wait_until(lambda: world.serving() == "v1", 5.0)
        answer = await answered(world, request(PICTURES))
        some = await answered(world, request(PICTURES, outputs=("labels", "scores")))
    found = values(answer)
    assert list(found) == ["num_detections", "boxes", "scores", "label_ids", "labels"]
    assert (found["num_detections"], found["label_ids"], found["labels"]) == (
        [1, 1],
        [[3], [3]],
        [b"code", b"code"],
    )
    assert [each.name for each in some.outputs] == ["labels", "scores"]


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("version", "kind"), [("2", VersionNotFound), ("v9", VersionNotFound), ("held", VersionNotLoaded)]
)
async def test_r15_another_version_is_never_used(version: str, kind: type[ServingError]) -> None:
    with live("m:held", "m:v1") as world:
        await world.reconciler.view.wait_until(lambda: world.serving() == "v1", 5.0)
        for tensor in (ROWS, PICTURES):
            with pytest.raises(kind):
                await answered(world, request(tensor, version=version))
            assert (await answered(world, request(tensor, version="1"))).version == "v1"
            with pytest.raises(ModelNotFound):
                await answered(world, request(tensor, model="nobody"))


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("inputs", "more"),
    [
        ((Tensor("x", "BYTES", (1, 2), [b"a", b"a"]),), {}),
        ((Tensor("x", "BYTES", (0,), []),), {}),
        ((Tensor("x", "BYTES", (33,), [b"a"] * 33),), {}),
        ((Tensor("x", "BYTES", (2,), [b"a", b""]),), {}),
        ((Tensor("x", "BYTES", (1,), [b"not base64!"], text=True),), {}),
        ((PICTURES, ROWS), {}),
        ((Tensor("x", "BF16", (1,), np.zeros(1, np.uint16)),), {}),
        ((PICTURES,), {"outputs": ("code",)}),
        ((PICTURES,), {"outputs": ("embedding",)}),
        ((PICTURES,), {"parameters": {"threshold": 2}}),
        ((PICTURES,), {"parameters": {"max_detections": 0}}),
    ],
)
async def test_what_cannot_be_answered_is_refused(inputs: Sequence[Tensor], more: dict[str, Any]) -> None:
    with live("m:v1") as world:
        await world.reconciler.view.wait_until(lambda: world.serving() == "v1", 5.0)
        with pytest.raises(BadRequest):
            await answered(world, request(*inputs, **more))


def test_pictures_in_text_are_base64_and_may_have_line_breaks() -> None:
    text = base64.encodebytes(bytes(range(256)))
    assert b"\n" in text
    (picture,) = images.read(Tensor("x", "BYTES", (1,), [text], text=True))
    assert picture.encoded == bytes(range(256))


def test_the_parameters_of_pictures_become_options() -> None:
    found = images.options({"threshold": 0.25, "max_detections": 7, "else": "x"})
    assert (found.threshold, found.max_detections) == (0.25, 7)
    assert images.options({}).max_detections == 100


def _prediction(*labels: int, **more: Any) -> Prediction:
    found = (Detection(f"l{label}", label, label / 10, (0, 0, label / 10, 1)) for label in labels)
    return Prediction(tuple(found), "v1", 8, 8, **more)


def test_detectors_answer_with_as_many_columns_as_most_were_found() -> None:
    found = images.answer("object-detection", [_prediction(5, 2), _prediction(), _prediction(1)], ())
    assert [(each.name, each.datatype, each.shape) for each in found] == [
        ("num_detections", "INT32", (3,)),
        ("boxes", "FP32", (3, 2, 4)),
        ("scores", "FP32", (3, 2)),
        ("label_ids", "INT32", (3, 2)),
        ("labels", "BYTES", (3, 2)),
    ]
    number, boxes, scores, ids, labels = (each.data for each in found)
    assert np.array_equal(number, [2, 0, 1])
    assert np.allclose(boxes[0], [[0, 0, 0.5, 1], [0, 0, 0.2, 1]])
    assert np.allclose(scores, [[0.5, 0.2], [0, 0], [0.1, 0]])
    assert np.array_equal(ids, [[5, 2], [-1, -1], [1, -1]])
    assert labels == [b"l5", b"l2", b"", b"", b"l1", b""]


def test_nothing_found_has_no_columns() -> None:
    found = images.answer("object-detection", [_prediction()], ())
    assert [each.shape for each in found] == [(1,), (1, 0, 4), (1, 0), (1, 0), (1, 0)]


def test_classifiers_and_embedders_have_answers_of_their_own() -> None:
    found = images.answer("image-classification", [_prediction(5, 2)], ())
    assert [(each.name, each.shape) for each in found] == [
        ("scores", (1, 2)),
        ("label_ids", (1, 2)),
        ("labels", (1, 2)),
    ]
    vectors = [_prediction(embedding=np.array([n, 1, 2], np.float32)) for n in range(2)]
    (embedding,) = images.answer("image-embedding", vectors, ())
    assert (embedding.name, embedding.datatype, embedding.shape) == ("embedding", "FP32", (2, 3))
    assert np.array_equal(embedding.data, [[0, 1, 2], [1, 1, 2]])


def test_r9_an_output_that_the_task_does_not_give_is_refused() -> None:
    with pytest.raises(BadRequest, match="there is no output 'boxes'"):
        images.answer("image-classification", [_prediction()], ("boxes",))
