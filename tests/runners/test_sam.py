"""Segment Anything in its two forms: prompts, kept pictures, masks held against the original libraries'."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from hotswap.errors import BadRequest, VersionFailed
from hotswap.predictions import Detection, Options, Picture
from runners.onnx_runner import OnnxRunner
from runners.seen_pictures import SeenBatch, SeenPictures, picture_key
from tests.runners.references import IMAGENET, Reference, ReferencePicture, answer

INPUT: dict[str, Any] = {
    "width": 1024,
    "height": 1024,
    "resize": {"mode": "longest_edge"},
    "pad": "zero",
    **IMAGENET,
}
CONFIG: dict[str, Any] = {
    "task": "prompted-segmentation",
    "family": "sam",
    "input": INPUT,
    "warm_up": {"runs": 1},
    "graphs": {
        "encoder": {"file": "vision_encoder.onnx"},
        "decoder": {"file": "prompt_encoder_mask_decoder.onnx"},
    },
}
ORIGINAL = CONFIG | {
    "graphs": {"encoder": {"file": "encoder.onnx"}, "decoder": {"file": "decoder.onnx"}},
}
#: The graph normalises and fills by itself.
INSIDE = ORIGINAL | {
    "input": {"width": 1024, "height": 1024, "layout": "HWC", "resize": {"mode": "longest_edge"}},
    "graphs": {"encoder": {"file": "encoder_with_preprocess.onnx"}, "decoder": {"file": "decoder.onnx"}},
}
BLACK = Picture(pixels=np.zeros((30, 40, 3), np.uint8))


@pytest.fixture(scope="module")
def two_graphs() -> OnnxRunner:
    return Reference.of("sam").load(CONFIG, "vision_encoder.onnx")


@pytest.fixture(scope="module")
def original() -> OnnxRunner:
    return Reference.of("sam_original").load(ORIGINAL, "encoder.onnx")


def _mask(expected: dict[str, Any], size: tuple[int, int]) -> np.ndarray[Any, Any]:
    """A row-major mask of the reference."""
    lengths = np.array(expected["rle"])
    inside = np.arange(len(lengths)) % 2 == 1
    return np.repeat(inside, lengths).reshape(size[1], size[0])


def _iou(detection: Detection, expected: np.ndarray[Any, Any]) -> float:
    assert detection.mask is not None
    found = detection.mask.pixels()
    return float((found & expected).sum() / (found | expected).sum())


def _points(asked: ReferencePicture, places: list[list[float]], labels: list[int]) -> Any:
    width, height = asked.size
    return tuple((x / width, y / height, label) for (x, y), label in zip(places, labels, strict=True))


@pytest.mark.slow
def test_masks_of_points_are_those_of_the_original(two_graphs: OnnxRunner) -> None:
    for asked in Reference.of("sam").pictures():
        expected = asked.expected
        prompts = zip(expected["input_points_original"], expected["input_labels"], strict=True)
        for number, (places, labels) in enumerate(prompts):
            best = next(one for one in expected["masks"] if one["prompt"] == number and one["best"])
            (found,) = answer(two_graphs, asked, Options(points=_points(asked, places, labels))).detections
            assert _iou(found, _mask(best, asked.size)) >= 0.999
            assert abs(found.score - best["iou_score"]) <= 0.002


@pytest.mark.parametrize(
    "config",
    [pytest.param(ORIGINAL, id="prepared"), pytest.param(INSIDE, id="inside", marks=pytest.mark.slow)],
)
def test_masks_of_points_and_boxes_are_those_of_the_original_exporter(config: dict[str, Any]) -> None:
    original = Reference.of("sam_original").load(config, config["graphs"]["encoder"]["file"])
    for asked in Reference.of("sam_original").pictures():
        prompt, (width, height) = asked.expected["prompt"], asked.size
        options = Options(
            points=_points(asked, prompt["points"] or [], prompt["labels"] or []),
            boxes=tuple(
                (x1 / width, y1 / height, x2 / width, y2 / height) for x1, y1, x2, y2 in [prompt["box"]]
            )
            if prompt["box"]
            else (),
        )
        best = next(one for one in asked.expected["masks"] if one["best"])
        (found,) = answer(original, asked, options).detections
        assert _iou(found, _mask(best, asked.size)) >= 0.999, asked.expected["file"]
        assert abs(found.score - best["iou_prediction"]) <= 0.002


@pytest.mark.slow
def test_an_encoder_that_prepares_pictures_itself_gives_the_same_masks(original: OnnxRunner) -> None:
    """The form of samexporter: one picture [H, W, 3] of 0..255 at its resized size, without fill."""
    inside = {**INPUT, "layout": "HWC", "scale": 1.0, "mean": None, "std": None}
    reference = Reference.of("sam_original")
    runner = reference.load(ORIGINAL | {"input": inside}, "encoder_with_preprocess.onnx")
    for asked in reference.pictures():
        options = Options(points=((0.5, 0.5, 1),))
        (found,), (expected,) = (answer(each, asked, options).detections for each in (runner, original))
        assert expected.mask is not None
        assert _iou(found, expected.mask.pixels()) >= 0.999, asked.expected["file"]
        assert abs(found.score - expected.score) <= 0.002


def test_a_layout_that_the_graph_has_not_is_refused() -> None:
    for layout, weights in (("HWC", "encoder.onnx"), ("NCHW", "encoder_with_preprocess.onnx")):
        with pytest.raises(VersionFailed, match=r"input\.layout"):
            Reference.of("sam_original").load(ORIGINAL | {"input": {**INPUT, "layout": layout}}, weights)


@pytest.mark.slow
@pytest.mark.parametrize(
    "mistake",
    [
        {"colour_order": "BGR"},
        {"mean": None, "std": None},
        {"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]},
        {"scale": 1.0},
        {"resize": {"mode": "longest_edge", "kernel": "bicubic"}},
        {"pad": 0},
        {"resize": {"mode": "longest_edge", "kernel": "nearest"}},
        {"resize": {"mode": "letterbox_centre"}},
    ],
    ids=lambda mistake: " ".join(map(str, mistake.values()))[:40],
)
def test_a_mistake_of_preprocessing_moves_the_masks(mistake: dict[str, Any]) -> None:
    reference = Reference.of("sam_original")
    runner = reference.load(ORIGINAL | {"input": {**INPUT, **mistake}}, "encoder.onnx")
    asked = next(reference.pictures())
    prompt, best = asked.expected["prompt"], next(one for one in asked.expected["masks"] if one["best"])
    options = Options(points=_points(asked, prompt["points"], prompt["labels"]))
    found = answer(runner, asked, options).detections
    assert not found or _iou(found[0], _mask(best, asked.size)) < 0.999


@pytest.mark.slow
@pytest.mark.parametrize("size", [(3000, 1), (1, 3000), (3000, 2)])
def test_a_thin_picture_is_answered_in_the_original_form(size: tuple[int, int]) -> None:
    runner = Reference.of("sam_original").load(ORIGINAL, "encoder.onnx")
    thin = Picture(pixels=np.zeros((size[1], size[0], 3), np.uint8))
    (found,) = runner.predict([thin], Options(threshold=0.0, points=((0.5, 0.5, 1),))).items
    assert (found.width, found.height) == size


@pytest.mark.slow
def test_another_prompt_on_a_picture_costs_the_decoder_alone(
    two_graphs: OnnxRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph = two_graphs._graphs.picture  # type: ignore[union-attr]
    runs = []
    run = graph.run
    monkeypatch.setattr(graph, "run", lambda *given: runs.append(1) or run(*given))
    for picture in Reference.of("sam").pictures():
        for x in (0.25, 0.5, 0.75):
            answer(two_graphs, picture, Options(points=((x, 0.5, 1),)))
    different = {picture.expected["file"] for picture in Reference.of("sam").pictures()}
    assert len(runs) <= len(different)


@pytest.mark.slow
def test_each_box_is_an_object_and_each_may_have_several_masks(original: OnnxRunner) -> None:
    asked = next(Reference.of("sam_original").pictures())
    boxes = ((0.1, 0.1, 0.5, 0.5), (0.5, 0.5, 0.9, 0.9))
    assert len(answer(original, asked, Options(boxes=boxes)).detections) <= 2
    found = answer(original, asked, Options(boxes=boxes[:1], top_k=3)).detections
    scores = [each.score for each in found]
    assert 1 <= len(found) <= 3
    assert scores == sorted(scores, reverse=True)


@pytest.mark.slow
def test_prompts_that_cannot_be_are_refused(two_graphs: OnnxRunner, original: OnnxRunner) -> None:
    box, point = (0.1, 0.1, 0.5, 0.5), (0.5, 0.5, 1)
    for options, message in (
        (Options(), "points: missing"),
        (Options(points=(point,), boxes=(box, box)), "boxes: each is an object of its own"),
        (Options(points=(point,), text_prompt="a bird"), "text_prompt: family 'sam' takes no such option"),
    ):
        with pytest.raises(BadRequest, match=message):
            original.predict([BLACK], options)
    with pytest.raises(BadRequest, match="this export of the model takes points alone"):
        two_graphs.predict([BLACK], Options(boxes=(box,)))


def test_the_pictures_that_were_asked_for_last_are_kept() -> None:
    seen, batches = SeenPictures(2), [SeenBatch({}, [], [(n, n)]) for n in range(3)]
    for number in (0, 1):
        seen.keep(bytes([number]), batches[number])
    assert seen.get(bytes([0])) is batches[0]
    seen.keep(bytes([2]), batches[2])
    assert [seen.get(bytes([number])) for number in range(3)] == [batches[0], None, batches[2]]
    seen.clear()
    assert seen.get(bytes([0])) is None


def test_a_picture_is_known_by_its_content() -> None:
    pixels_of = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    assert picture_key(Picture(pixels=pixels_of)) == picture_key(Picture(pixels=pixels_of.copy()))
    assert picture_key(Picture(pixels=pixels_of)) != picture_key(Picture(pixels=pixels_of.reshape(2, 8, 3)))
    assert picture_key(Picture(encoded=b"a")) != picture_key(Picture(encoded=b"b"))
