"""Families without an outside judge here, held against their published formulas, written plainly."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any

import onnx
import pytest
from PIL import Image

from hotswap.errors import VersionFailed
from hotswap.predictions import Options, Picture
from runners.onnx_runner import OnnxRunner
from tests.runners import pixel_graphs
from tests.runners.graphs import load
from tests.runners.pictures import encode
from tests.runners.pixel_graphs import EDGE, LABELS, LONGEST, SIDE, texture
from tests.runners.plain_judge import JUDGES, Difference, Judged, difference
from tests.runners.references import IMAGENET

_LETTERBOXED: Mapping[str, Any] = {
    "width": SIDE,
    "height": SIDE,
    "scale": 1 / 255,
    "resize": {"mode": "longest_edge_centre"},
}
_OPEN: Mapping[str, Any] = {
    "width": LONGEST,
    "height": LONGEST,
    "resize": {"mode": "keep_aspect", "edge": EDGE},
    "pad": "zero",
    **IMAGENET,
}


def _config(family: str, made: Mapping[str, Any], **changes: Any) -> dict[str, Any]:
    task = "instance-segmentation" if family == "yolov8-seg" else "object-detection"
    return {"task": task, "family": family, "input": dict(made), "labels": LABELS, **changes}


CONFIGS: Mapping[str, dict[str, Any]] = {
    "yolov5": _config("yolov5", _LETTERBOXED),
    "yolov8": _config("yolov8", _LETTERBOXED),
    "yolov8-seg": _config("yolov8-seg", _LETTERBOXED),
    "detr": _config("detr", {**_OPEN, "name": "pixel_values"}),
    "rf-detr": _config(
        "detr", {"width": SIDE, "height": SIDE, **IMAGENET}, output={"names": ["labels", "dets"]}
    ),
}
GRAPHS: Mapping[str, onnx.ModelProto] = {
    "yolov5": pixel_graphs.yolov5(),
    "yolov8": pixel_graphs.yolov8(),
    "yolov8-seg": pixel_graphs.yolov8_seg(),
    "detr": pixel_graphs.detr(),
    "rf-detr": pixel_graphs.rf_detr(),
}
#: Larger and smaller than the inputs, wide and tall, and one whose sides are rounded up in a letterbox.
PICTURES = [
    encode(texture(*size, seed), "PNG")
    for seed, size in enumerate([(301, 203), (90, 160), (128, 128), (77, 300), (500, 61), (100, 53)])
]
ALL = Options(max_detections=1000)


@cache
def _judged(family: str, image: bytes) -> list[Judged]:
    return JUDGES[family](GRAPHS[family], Image.open(BytesIO(image)))


def _found(runner: OnnxRunner, image: bytes, family: str) -> Difference:
    (answer,) = runner.predict([Picture(encoded=image)], ALL).items
    return difference(answer.detections, _judged(family, image), image)


@pytest.mark.slow
@pytest.mark.parametrize("family", GRAPHS)
def test_answers_are_those_of_the_published_formulas(tmp_path: Path, family: str) -> None:
    runner = load(tmp_path, GRAPHS[family], CONFIGS[family])
    runner.check()
    for image in PICTURES:
        found = _found(runner, image, family)
        assert found.good, found


@pytest.mark.parametrize("family", GRAPHS)
def test_the_judge_has_much_to_say(family: str) -> None:
    """Ten objects a picture, of every label; masks are neither empty nor their whole box."""
    judged = [one for image in PICTURES for one in _judged(family, image)]
    assert {one.label for one in judged} == {0, 1, 2}
    assert len(judged) > 10 * len(PICTURES)
    if family == "yolov8-seg":
        areas = [(one.box[2] - one.box[0]) * (one.box[3] - one.box[1]) for one in judged]
        pixels = [int(one.mask.sum()) for one in judged if one.mask is not None]
        assert 0.2 * sum(areas) < sum(pixels) < 0.8 * sum(areas)


MISTAKES: Mapping[str, dict[str, Any]] = {
    "colours": {"colour_order": "BGR"},
    "scale": {"scale": 1.0},
    "no mean": {"mean": None, "std": None},
    "mean": {"mean": [0.485, 0.456, 0.406], "std": None},
    "std": {"std": [0.229, 0.224, 0.225], "mean": None},
    "half": {"mean": [0.5] * 3, "std": [0.5] * 3},
    "nearest": {"kernel": "nearest"},
    "bicubic": {"kernel": "bicubic"},
    "lanczos": {"kernel": "lanczos"},
    "box": {"kernel": "box"},
    "stretched": {"mode": "stretch"},
    "at the left": {"mode": "longest_edge"},
    "rounded down": {"mode": "letterbox_centre"},
    "black": {"pad": 0},
    "the graph's zero": {"pad": "zero"},
}
_NONE_OF = {
    "yolov5": {"no mean"},
    "yolov8": {"no mean"},
    "yolov8-seg": {"no mean"},
    "detr": {"black", "the graph's zero", "stretched", "at the left", "rounded down"},
    "rf-detr": {"black", "the graph's zero", "stretched"},
}


def _mistaken() -> Iterator[tuple[str, str]]:
    for family, others in _NONE_OF.items():
        yield from ((family, mistake) for mistake in MISTAKES if mistake not in others)


@pytest.mark.slow
@pytest.mark.parametrize(("family", "mistake"), list(_mistaken()))
def test_a_mistake_of_preprocessing_moves_the_answers(tmp_path: Path, family: str, mistake: str) -> None:
    config, changes = CONFIGS[family], dict(MISTAKES[mistake])
    resize = {**config["input"].get("resize", {})}
    resize |= {key: changes.pop(key) for key in ("mode", "kernel") if key in changes}
    runner = load(
        tmp_path, GRAPHS[family], config | {"input": {**config["input"], **changes, "resize": resize}}
    )
    assert not all(_found(runner, image, family).good for image in PICTURES)


@pytest.mark.parametrize("family", GRAPHS)
def test_a_wrong_layout_never_serves(tmp_path: Path, family: str) -> None:
    config = CONFIGS[family]
    with pytest.raises(VersionFailed, match=r"layout|input\.height 3"):
        load(tmp_path, GRAPHS[family], config | {"input": {**config["input"], "layout": "NHWC"}})


def test_another_edge_moves_the_answers_of_detr(tmp_path: Path) -> None:
    resize = {"mode": "keep_aspect", "edge": EDGE - 8}
    config = CONFIGS["detr"] | {"input": {**CONFIGS["detr"]["input"], "resize": resize}}
    runner = load(tmp_path, GRAPHS["detr"], config)
    assert not all(_found(runner, image, "detr").good for image in PICTURES)
