"""DETR and its kin: the form by the columns of the logits, held against the documented procedure in numpy."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from hotswap.errors import ModelFailed, VersionFailed
from hotswap.predictions import Options, Picture
from manifest.version_manifest import BadManifest, parse_config
from runners.families.base import Family
from runners.families.index import family_of
from runners.geometry import place
from runners.graph_check import GraphTensor
from tests.runners.graphs import as_model, load
from tests.runners.pictures import encode, smooth

LABELS = ["cat", "dog", "cow"]
CONFIG: dict[str, Any] = {
    "task": "object-detection",
    "family": "detr",
    "input": {
        "width": 40,
        "height": 40,
        "resize": {"mode": "keep_aspect", "edge": 24},
        "pad": "zero",
    },
    "labels": LABELS,
}
PICTURE = place("keep_aspect", (200, 100), (40, 40), 24)


def _family(**changes: Any) -> Family[Any]:
    return family_of(parse_config(json.dumps(CONFIG | changes)))


def _outputs(columns: int, seed: int = 1) -> dict[str, NDArray[np.float32]]:
    rng = np.random.default_rng(seed)
    centres, sides = rng.uniform(0.3, 0.7, (50, 2)), rng.uniform(0.05, 0.5, (50, 2))
    return {
        "logits": rng.normal(0, 3, (50, columns)).astype(np.float32),
        "pred_boxes": np.concatenate([centres, sides], axis=1).astype(np.float32),
    }


def _box(query: NDArray[np.float32]) -> tuple[float, ...]:
    x, y, width, height = (float(value) for value in query)
    corners = (x - width / 2, y - height / 2, x + width / 2, y + height / 2)
    return tuple(min(1.0, max(0.0, corner)) for corner in corners)


def _found(outputs: dict[str, Any], threshold: float) -> list[tuple[int, float, Any]]:
    family = _family()
    family.check(outputs)
    found = family.find(outputs, PICTURE, Options(threshold=threshold, max_detections=1000)).detections
    return [(each.label_id, each.score, each.bbox) for each in found]


def _same(found: list[Any], expected: list[Any]) -> None:
    assert len(found) == len(expected) > 3
    for ours, theirs in zip(found, sorted(expected, key=lambda one: -one[1]), strict=True):
        assert ours[0] == theirs[0]
        assert ours[1] == pytest.approx(theirs[1], abs=1e-6)
        assert ours[2] == pytest.approx(theirs[2], abs=1e-6)


def test_with_a_column_for_none_each_query_has_its_best_class() -> None:
    outputs, expected = _outputs(4), []
    for logits, box in zip(outputs["logits"].tolist(), outputs["pred_boxes"], strict=True):
        powers = [float(np.exp(value)) for value in logits]
        scores = [power / sum(powers) for power in powers[:3]]
        if max(scores) > 0.6:
            expected.append((scores.index(max(scores)), max(scores), _box(box)))
    _same(_found(outputs, 0.6), expected)


def test_with_a_column_per_label_each_pair_counts() -> None:
    outputs, expected = _outputs(3), []
    for logits, box in zip(outputs["logits"].tolist(), outputs["pred_boxes"], strict=True):
        scores = [1 / (1 + float(np.exp(-value))) for value in logits]
        expected += [(label, score, _box(box)) for label, score in enumerate(scores) if score > 0.9]
    _same(_found(outputs, 0.9), expected)


def test_outputs_of_another_graph_are_refused() -> None:
    good = _outputs(4)
    for changed in (
        {"logits": good["logits"][:, :2]},
        {"logits": good["logits"][0]},
        {"pred_boxes": good["pred_boxes"][:9]},
    ):
        with pytest.raises(ModelFailed):
            _family().check(good | changed)
    named = _family(output={"names": ["labels", "dets"]})
    assert named.reads(["dets", "labels"]) == ("labels", "dets")
    with pytest.raises(VersionFailed):
        _family().reads(["dets", "labels"])


def test_the_input_is_as_large_as_the_picture() -> None:
    # as get_size_with_aspect_ratio of transformers: 480x640 → 800x1066, 500x1500 → 444x1333
    for picture, size in (
        ((640, 480), (1066, 800)),
        ((480, 640), (800, 1066)),
        ((1500, 500), (1333, 444)),
        ((300, 300), (800, 800)),
        ((5000, 1), (1333, 1)),
    ):
        placed = place("keep_aspect", picture, (1333, 1333), 800)
        assert (placed.width, placed.height) == size, picture
        assert placed.target == (0, 0, *size)
        assert placed.restore(np.array([[0.0, 0.0, 1.0, 0.5]])).tolist() == [[0.0, 0.0, 1.0, 0.5]]


def test_an_edge_is_needed() -> None:
    with pytest.raises(BadManifest, match="edge"):
        _family(input={"width": 9, "height": 9, "resize": {"mode": "keep_aspect"}})


def _graph(sides: tuple[Any, Any], mask: tuple[Any, Any]) -> onnx.ModelProto:
    """Boxes hold the share of pixels that show a picture, and the input's width and height by 100."""
    nodes = [
        helper.make_node("ReduceMean", ["pixel_mask"], ["share"], axes=[1, 2], keepdims=0),
        helper.make_node("Unsqueeze", ["share", "axes"], ["shares"]),
        helper.make_node("Shape", ["pixel_values"], ["shape"]),
        helper.make_node("Cast", ["shape"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("Gather", ["floats", "sides"], ["size"]),
        helper.make_node("Div", ["size", "hundred"], ["relative"]),
        helper.make_node("Mul", ["shares", "one"], ["first"]),
        helper.make_node("Mul", ["shares", "none"], ["zeros"]),
        helper.make_node("Add", ["zeros", "relative"], ["last"]),
        helper.make_node("Concat", ["first", "last"], ["pred_boxes"], axis=2),
        helper.make_node("Add", ["zeros2", "scores"], ["logits"]),
        helper.make_node("Mul", ["shares", "none4"], ["zeros2"]),
    ]
    nodes[-2], nodes[-1] = nodes[-1], nodes[-2]
    weights = {
        "axes": np.array([1, 2], np.int64),
        "sides": np.array([3, 2], np.int64),
        "hundred": np.array(100, np.float32),
        "one": np.array([[[1, 0.5]]], np.float32),
        "none": np.zeros((1, 1, 2), np.float32),
        "none4": np.zeros((1, 1, 4), np.float32),
        "scores": np.array([[[9.0, 0, 0, 0]]], np.float32),
    }
    pixels = helper.make_tensor_value_info("pixel_values", TensorProto.FLOAT, ["N", 3, *sides])
    masks = helper.make_tensor_value_info("pixel_mask", TensorProto.FLOAT, ["N", *mask])
    outputs = [
        helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", 1, 4]),
        helper.make_tensor_value_info("pred_boxes", TensorProto.FLOAT, ["N", 1, 4]),
    ]
    arrays = [numpy_helper.from_array(array, name) for name, array in weights.items()]
    return as_model(helper.make_graph(nodes, "detr", [pixels, masks], outputs, arrays))


@pytest.mark.parametrize("mask", [("h", "w"), (8, 8)], ids=["open", "fixed"])
def test_pictures_of_a_batch_are_filled_and_masked(tmp_path: Path, mask: tuple[Any, Any]) -> None:
    runner = load(tmp_path, _graph(("height", "width"), mask), CONFIG)
    runner.warm()
    runner.check()
    assert runner._batches
    pictures = [Picture(encoded=encode(smooth(*size), "PNG")) for size in ((100, 100), (100, 50))]
    boxes = [item.detections[0].bbox or () for item in runner.predict(pictures, Options()).items]
    # 24x24 and 40x20 pixels lie in an input of 40x24
    for box, (width, height) in zip(boxes, ((24, 24), (40, 20)), strict=True):
        share = width * height / (40 * 24)
        tolerance = 1e-5 if mask[0] == "h" else 0.1
        right = min(1.0, (share + 0.2) * 40 / width)
        assert box[2] == pytest.approx(right, abs=tolerance)
    (alone,) = runner.predict(pictures[:1], Options()).items
    assert alone.detections[0].bbox == pytest.approx((0.88, 0.38, 1.0, 0.62), abs=1e-5)


def test_a_graph_with_fixed_sides_cannot_keep_the_aspect(tmp_path: Path) -> None:
    with pytest.raises(VersionFailed, match=r"should say input.resize.mode 'stretch' \(the graph's sides"):
        load(tmp_path, _graph((40, 40), (40, 40)), CONFIG)


def test_a_mask_is_of_the_type_that_the_graph_declares() -> None:
    family = _family()
    family.connect([GraphTensor("pixel_mask", "tensor(bool)", (1, 64, 64))])
    mask = family.feed([PICTURE], Options())["pixel_mask"]
    assert (mask.dtype, mask.shape, mask.all()) == (np.bool_, (1, 64, 64), True)
