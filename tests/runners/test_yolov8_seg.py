"""Instance segmentation of Ultralytics, held against its documented procedure written plainly in numpy."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from hotswap.errors import ModelFailed
from hotswap.predictions import Detection, Options, Picture
from manifest.version_manifest import parse_config
from runners.families.base import Family
from runners.families.index import family_of
from runners.geometry import Geometry, place
from tests.runners.graphs import constant_graph, load
from tests.runners.pictures import encode, smooth

#: 64 x 64 pixels: 8 x 8 + 4 x 4 + 2 x 2 cells.
SIDE, CELLS, PROTOTYPES = 64, 84, 8
CONFIG: dict[str, Any] = {
    "task": "instance-segmentation",
    "family": "yolov8-seg",
    "input": {"width": SIDE, "height": SIDE, "scale": 1 / 255, "resize": {"mode": "longest_edge_centre"}},
    "labels": ["cat", "dog", "cow"],
}
PICTURES = [(64, 64), (128, 64), (50, 90), (200, 113)]


def _family(**changes: Any) -> Family[Any]:
    return family_of(parse_config(json.dumps(CONFIG | changes)))


def _outputs(seed: int) -> dict[str, NDArray[np.float32]]:
    """Twelve objects of random places, and smooth prototypes."""
    rng = np.random.default_rng(seed)
    rows = np.zeros((CELLS, 4 + 3 + PROTOTYPES), np.float32)
    rows[:12, :2] = rng.uniform(10, 54, (12, 2))
    rows[:12, 2:4] = rng.uniform(8, 40, (12, 2))
    rows[np.arange(12), 4 + rng.integers(0, 3, 12)] = rng.uniform(0.3, 1, 12)
    rows[:12, 7:] = rng.normal(size=(12, PROTOTYPES))
    coarse = rng.normal(size=(PROTOTYPES, 4, 4)).astype(np.float32)
    prototypes = [
        np.asarray(Image.fromarray(each).resize((SIDE // 4, SIDE // 4), Image.Resampling.BICUBIC))
        for each in coarse
    ]
    return {"output0": rows.T, "output1": np.stack(prototypes)}


def _found(outputs: dict[str, Any], geometry: Geometry, **options: Any) -> tuple[Detection, ...]:
    family = _family()
    family.check(outputs)
    return family.find(outputs, geometry, Options(**options)).detections


def _judge(outputs: dict[str, Any], picture: tuple[int, int], iou: float) -> list[Any]:
    """Label, score, box in pixels and mask of each object, in loops: letterbox, class-wise NMS, and masks."""
    width, height = picture
    gain = min(SIDE / width, SIDE / height)
    size = round(width * gain), round(height * gain)
    left, top = (SIDE - size[0]) // 2, (SIDE - size[1]) // 2
    rows = sorted(outputs["output0"].T, key=lambda row: -row[4:7].max())
    kept: list[Any] = []
    for row in rows:
        score, label = float(row[4:7].max()), int(row[4:7].argmax())
        x, y, w, h = row[:4].tolist()
        box = [x - w / 2, y - h / 2, x + w / 2, y + h / 2]
        if score >= 0.25 and all(other[0] != label or _iou(box, other[4]) <= iou for other in kept):
            x1, x2 = (np.clip((side - left) * width / size[0], 0, width) for side in box[::2])
            y1, y2 = (np.clip((side - top) * height / size[1], 0, height) for side in box[1::2])
            logits = sum(v * p for v, p in zip(row[7:], outputs["output1"], strict=True))
            inside = np.zeros((height, width), bool)
            for down in range(height):
                for across in range(width):
                    if x1 <= across < x2 and y1 <= down < y2:
                        u = (left + (across + 0.5) * size[0] / width) / 4 - 0.5
                        v = (top + (down + 0.5) * size[1] / height) / 4 - 0.5
                        inside[down, across] = _value(logits, u, v) > 0
            kept.append((label, score, (x1, y1, x2, y2), inside, box))
    return kept


def _value(plane: Any, x: float, y: float) -> float:
    side = len(plane) - 1
    x, y = min(max(x, 0.0), side), min(max(y, 0.0), side)
    low, high = (int(x), int(y)), (min(int(x) + 1, side), min(int(y) + 1, side))
    a, b = x - low[0], y - low[1]
    upper = plane[low[1], low[0]] * (1 - a) + plane[low[1], high[0]] * a
    lower = plane[high[1], low[0]] * (1 - a) + plane[high[1], high[0]] * a
    return float(upper * (1 - b) + lower * b)


def _iou(one: list[float], other: list[float]) -> float:
    across = max(0.0, min(one[2], other[2]) - max(one[0], other[0]))
    down = max(0.0, min(one[3], other[3]) - max(one[1], other[1]))
    areas = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (one, other))
    return across * down / (areas - across * down)


@pytest.mark.slow
@pytest.mark.parametrize("picture", PICTURES, ids=str)
def test_masks_are_those_of_the_documented_procedure(picture: tuple[int, int]) -> None:
    geometry = place("longest_edge_centre", picture, (SIDE, SIDE))
    outputs = _outputs(picture[0])
    expected = [one for one in _judge(outputs, picture, 0.45) if one[3].any()]
    found = _found(outputs, geometry)
    assert len(found) == len(expected) >= 6
    for ours, (label, score, box, inside, _) in zip(found, expected, strict=True):
        assert (ours.label_id, ours.score) == (label, pytest.approx(score))
        assert np.array(ours.bbox) * np.array(picture * 2) == pytest.approx(np.array(box), abs=1e-3)
        assert ours.mask is not None
        assert (ours.mask.width, ours.mask.height) == picture
        mask = ours.mask.pixels()
        assert (mask & inside).sum() / (mask | inside).sum() >= 0.999


def test_rows_may_be_turned_or_end_to_end() -> None:
    outputs, geometry = _outputs(1), place("longest_edge_centre", (SIDE, SIDE), (SIDE, SIDE))
    raw = _found(outputs, geometry, nms_threshold=1.0)
    turned = _found({**outputs, "output0": outputs["output0"].T}, geometry, nms_threshold=1.0)
    rows = outputs["output0"].T
    ends = np.zeros((300, 6 + PROTOTYPES), np.float32)
    ends[:CELLS, :2], ends[:CELLS, 2:4] = rows[:, :2] - rows[:, 2:4] / 2, rows[:, :2] + rows[:, 2:4] / 2
    ends[:CELLS, 4], ends[:CELLS, 5] = rows[:, 4:7].max(axis=1), rows[:, 4:7].argmax(axis=1)
    ends[:CELLS, 6:] = rows[:, 7:]
    ended = _found({**outputs, "output0": ends}, geometry)
    for others in (turned, ended):
        assert [each.label_id for each in others] == [each.label_id for each in raw]
        assert [each.score for each in others] == pytest.approx([each.score for each in raw])
        for one, other in zip(raw, others, strict=True):
            assert np.array_equal(one.mask.pixels(), other.mask.pixels())  # type: ignore[union-attr]


def test_a_box_without_a_pixel_is_no_object() -> None:
    outputs = _outputs(2)
    outputs["output1"][...] = -1
    outputs["output0"][7:] = 1
    assert _found(outputs, place("longest_edge_centre", (64, 64), (64, 64))) == ()


def test_outputs_of_another_graph_are_refused() -> None:
    good = _outputs(3)
    for changed in (
        {"output0": good["output0"][:-1]},
        {"output0": good["output0"][0]},
        {"output1": good["output1"][0]},
        {"output1": good["output1"][:4]},
    ):
        with pytest.raises(ModelFailed):
            _family().check(good | changed)


def test_a_picture_comes_back_with_masks_of_its_size(tmp_path: Path) -> None:
    graph = constant_graph(_outputs(4), shape=(1, 3, SIDE, SIDE))
    runner = load(tmp_path, graph, CONFIG)
    runner.warm()
    runner.check()
    (answer,) = runner.predict([Picture(encoded=encode(smooth(120, 80), "PNG"))], Options()).items
    assert answer.detections
    assert {(each.mask.width, each.mask.height) for each in answer.detections if each.mask} == {(120, 80)}
