"""Ultralytics' detectors: the forms of their outputs, told by the shape."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from hotswap.errors import ModelFailed
from hotswap.predictions import Options
from manifest.version_manifest import parse_config
from runners.families.base import Family
from runners.families.index import family_of
from runners.geometry import place

#: 64 x 32 pixels: 8 x 4 + 4 x 2 + 2 x 1 cells.
CELLS = 42
CONFIG: dict[str, Any] = {
    "task": "object-detection",
    "family": "yolov8",
    "input": {"width": 64, "height": 32, "scale": 1 / 255, "resize": {"mode": "longest_edge_centre"}},
    "labels": ["cat", "dog", "cow"],
}
#: A picture that fills the input.
WHOLE = place("longest_edge_centre", (128, 64), (64, 32))


def _family(family: str = "yolov8", **changes: Any) -> Family[Any]:
    return family_of(parse_config(json.dumps(CONFIG | {"family": family} | changes)))


def _found(family: Family[Any], array: np.ndarray[Any, Any], **options: Any) -> list[tuple[Any, ...]]:
    outputs = {"output0": array.astype(np.float32)}
    family.check(outputs)
    found = family.find(outputs, WHOLE, Options(**options)).detections
    return [(each.label, round(each.score, 3), tuple(round(x, 3) for x in each.bbox or ())) for each in found]


def _raw() -> np.ndarray[Any, Any]:
    rows = np.zeros((CELLS, 7))
    rows[3] = [32, 16, 32, 16, 0.1, 0.9, 0.2]
    rows[4] = [33, 16, 32, 16, 0.1, 0.8, 0.2]  # the same dog again
    rows[9] = [8, 8, 16, 16, 0.6, 0.0, 0.1]
    rows[20] = [50, 20, 10, 10, 0.0, 0.1, 0.2]  # below the threshold
    return rows


DOG, CAT = ("dog", 0.9, (0.25, 0.25, 0.75, 0.75)), ("cat", 0.6, (0.0, 0.0, 0.25, 0.5))


def test_one_column_per_cell_however_it_is_turned() -> None:
    assert _found(_family(), _raw()) == _found(_family(), _raw().T) == [DOG, CAT]
    assert len(_found(_family(), _raw(), nms_threshold=1.0)) == 3
    assert [label for label, *_ in _found(_family(), _raw(), threshold=0.15)] == ["dog", "cat", "cow"]


def test_end_to_end_nothing_is_suppressed_and_empty_rows_are_none() -> None:
    rows = np.zeros((300, 6))
    rows[0] = [16, 8, 48, 24, 0.9, 1]
    rows[1] = [17, 8, 49, 24, 0.8, 1]
    rows[2] = [0, 0, 16, 16, 0.6, 0]
    rows[3] = [0, 0, 16, 16, 0.7, 9]  # a class that has no label
    found = _found(_family(), rows)
    assert [found[0], found[2]] == [DOG, CAT]
    assert len(found) == 3
    assert len(_found(_family(), rows, nms_threshold=0.5)) == 2
    assert len(_found(_family(), rows, threshold=0.0)) == 3


def test_two_labels_have_six_columns_and_are_told_by_the_rows() -> None:
    family = _family(labels=["cat", "dog"])
    assert _found(family, _raw()[:, :6])[0] == DOG
    assert _found(family, _raw()[:, :6].T)[0] == DOG


def test_boxes_are_those_of_the_picture_inside_the_padding() -> None:
    tall = place("longest_edge_centre", (32, 32), (64, 32))  # 16 pixels of padding on both sides
    rows = np.zeros((CELLS, 7), np.float32)
    rows[0] = [32, 16, 16, 16, 0.9, 0, 0]
    (found,) = _family().find({"output0": rows}, tall, Options()).detections
    assert found.bbox == pytest.approx((0.25, 0.25, 0.75, 0.75))


def test_yolov5_multiplies_objectness_and_class() -> None:
    rows = np.zeros((3 * CELLS, 8))
    rows[50] = [32, 16, 32, 16, 0.9, 0.1, 1.0, 0.2]
    rows[51] = [33, 16, 32, 16, 0.8, 0.1, 1.0, 0.2]
    rows[60] = [8, 8, 16, 16, 0.75, 0.8, 0.0, 0.0]
    rows[70] = [8, 8, 16, 16, 0.2, 1.0, 0.0, 0.0]
    assert _found(_family("yolov5"), rows) == [DOG, CAT]


def test_other_shapes_and_values_are_refused() -> None:
    for shape in ((CELLS, 8), (8, CELLS), (7,), (1, CELLS, 7)):
        with pytest.raises(ModelFailed):
            _family().check({"output0": np.zeros(shape)})
    for shape in ((CELLS, 8), (3 * CELLS, 7)):
        with pytest.raises(ModelFailed):
            _family("yolov5").check({"output0": np.zeros(shape)})
    with pytest.raises(ModelFailed, match=r"must lie in 0\.\.1"):
        _found(_family(), _raw() * 10)
