"""RT-DETR in its exporters' three forms, two of them held against the original library's answers."""

from __future__ import annotations

import json
from itertools import islice
from typing import Any

import numpy as np
import pytest

from hotswap.errors import ModelFailed, VersionFailed
from hotswap.predictions import Options
from manifest.version_manifest import parse_config
from runners.families.index import family_of
from runners.families.rtdetr import RtDetr
from runners.geometry import place
from tests.runners.references import IMAGENET, Reference, answer, match

CONFIG: dict[str, Any] = {
    "task": "object-detection",
    "family": "rtdetr",
    "input": {"width": 640, "height": 640, "scale": 1 / 255},
    "labels": ["cat", "dog"],
}
WHOLE = place("stretch", (200, 100), (640, 640))
FORMS = {
    "model.onnx": "pixel_values",
    "model_original_form.onnx": "images",
}


def _family(available: list[str], **output: Any) -> RtDetr:
    family = family_of(parse_config(json.dumps(CONFIG | {"output": output})))
    assert isinstance(family, RtDetr)
    family.reads(available)
    return family


def _logit(probability: float) -> float:
    return float(np.log(probability / (1 - probability)))


def test_the_three_forms_say_the_same() -> None:
    centres = np.array([[0.5, 0.5, 0.2, 0.4], [0.2, 0.2, 0.2, 0.2]], np.float32)
    corners = np.array([[0.4, 0.3, 0.6, 0.7], [0.1, 0.1, 0.3, 0.3]], np.float32)
    scores = np.array([[0.1, 0.9], [0.6, 0.2]], np.float32)
    logits = np.vectorize(_logit)(scores).astype(np.float32)
    forms = [
        {"labels": np.array([1, 0]), "boxes": corners, "scores": np.array([0.9, 0.6], np.float32)},
        {"logits": logits, "pred_boxes": centres},
        {"output0": np.concatenate([centres, scores], axis=1)},
    ]
    for outputs in forms:
        family = _family(list(outputs))
        family.check(outputs)
        found = family.find(outputs, WHOLE, Options()).detections
        assert [(each.label, round(each.score, 4)) for each in found] == [("dog", 0.9), ("cat", 0.6)]
        assert found[0].bbox == pytest.approx((0.4, 0.3, 0.6, 0.7))


def test_one_query_may_be_of_two_classes_and_nothing_is_suppressed() -> None:
    outputs = {
        "logits": np.full((3, 2), _logit(0.8), np.float32),
        "pred_boxes": np.full((3, 4), 0.5, np.float32),
    }
    family = _family(list(outputs))
    assert len(family.find(outputs, WHOLE, Options()).detections) == 6
    assert len(family.find(outputs, WHOLE, Options(nms_threshold=0.5)).detections) == 2


def test_outputs_may_have_other_names() -> None:
    assert _family(["a", "b"], names=["b", "a"]).reads(["a", "b"]) == ("b", "a")
    with pytest.raises(VersionFailed, match=r"output\.names"):
        _family(["a"], names=["a", "b", "c", "d"])
    with pytest.raises(VersionFailed, match="reads one output"):
        _family(["a", "b"])


def test_outputs_of_other_shapes_are_refused() -> None:
    for outputs in (
        {"logits": np.zeros((3, 3)), "pred_boxes": np.zeros((3, 4))},
        {"logits": np.zeros((3, 2)), "pred_boxes": np.zeros((2, 4))},
        {"labels": np.zeros(3), "boxes": np.zeros((3, 4)), "scores": np.zeros(2)},
        {"output0": np.zeros((3, 7))},
    ):
        with pytest.raises(ModelFailed):
            _family(list(outputs)).check(outputs)


def test_a_class_without_label_is_left_out() -> None:
    outputs = {"labels": np.array([7]), "boxes": np.ones((1, 4)) / 2, "scores": np.array([0.9])}
    assert _family(list(outputs)).find(outputs, WHOLE, Options()).detections == ()


def _config(reference: Reference, form: str, **changes: Any) -> dict[str, Any]:
    labels = (reference.folder / "labels.txt").read_text().splitlines()
    return CONFIG | {"labels": labels, "input": {**CONFIG["input"], "name": FORMS[form], **changes}}


def _asked(expected: Any) -> Options:
    return Options(threshold=expected["threshold"], max_detections=1000)


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMS)
def test_answers_are_those_of_the_original(form: str) -> None:
    reference = Reference.of("rt_detr")
    runner = reference.load(_config(reference, form), form)
    for asked in reference.pictures():
        found = match(answer(runner, asked, _asked(asked.expected)).detections, asked)
        assert found.good, (asked.expected["file"], found)


@pytest.mark.parametrize(
    "mistake",
    [
        {"colour_order": "BGR"},
        {"scale": 1.0},
        {**IMAGENET},
        {"resize": {"kernel": "bicubic"}},
        {"resize": {"kernel": "nearest"}},
        {"resize": {"mode": "letterbox"}},
    ],
    ids=lambda mistake: " ".join(map(str, mistake)),
)
def test_a_mistake_of_preprocessing_moves_the_answers(mistake: dict[str, Any]) -> None:
    reference = Reference.of("rt_detr")
    runner = reference.load(_config(reference, "model.onnx", **mistake))
    assert not all(
        match(answer(runner, asked, _asked(asked.expected)).detections, asked).good
        for asked in islice(reference.pictures(), 2)
    )
