"""Family `yolox`, on tensors made by hand."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from hotswap.errors import ModelFailed
from hotswap.predictions import Options
from manifest.version_manifest import parse_config
from runners.families.index import family_of
from runners.geometry import place

DOCUMENT = {
    "task": "object-detection",
    "family": "yolox",
    "input": {"width": 64, "height": 32},
    "labels": ["circle", "square"],
}
#: Cells of strides 8, 16 and 32 in 64 x 32 pixels.
ROWS = 8 * 4 + 4 * 2 + 2 * 1
WHOLE = place("stretch", (80, 40), (64, 32))


def _family(**parts):
    return family_of(parse_config(json.dumps(DOCUMENT | parts)))


def _find(family, rows, options=Options(), geometry=WHOLE):  # noqa: B008 - frozen
    outputs = {"out": rows}
    family.check(outputs)
    return family.find(outputs, geometry, options).detections


def _rows(**at):
    """No object but where a row's number says one."""
    rows = np.zeros((ROWS, 7), np.float32)
    for place_, values in at.items():
        rows[int(place_[1:])] = values
    return rows


@pytest.mark.parametrize(
    ("row", "x", "y", "stride"),
    [(0, 0, 0, 8), (7, 7, 0, 8), (8, 0, 1, 8), (31, 7, 3, 8), (32, 0, 0, 16), (39, 3, 1, 16), (41, 1, 0, 32)],
)
def test_a_row_is_a_cell_of_its_grid(row, x, y, stride):
    raw = 0.25, 0.5, math.log(0.5), math.log(0.25), 0.9, 0.1, 0.8
    (found,) = _find(_family(), _rows(**{f"_{row}": raw}))
    assert (found.label, found.label_id) == ("square", 1)
    assert found.score == pytest.approx(0.9 * 0.8)
    centre_x, centre_y = (x + 0.25) * stride, (y + 0.5) * stride
    wanted = centre_x - stride / 4, centre_y - stride / 8, centre_x + stride / 4, centre_y + stride / 8
    pixels = [value * side for value, side in zip(found.bbox, (64, 32, 64, 32), strict=True)]
    assert pixels == pytest.approx(wanted, abs=1e-4)


def test_a_graph_that_decodes_gives_centre_and_sides_in_pixels():
    family = _family(output={"parameters": {"decoded": True}})
    (found,) = _find(family, _rows(_39=(32, 16, 16, 8, 0.9, 0.8, 0.1)))
    assert found.bbox == pytest.approx((24 / 64, 12 / 32, 40 / 64, 20 / 32))


def test_the_letterbox_is_taken_off():
    tall = place("letterbox", (32, 32), (64, 32))
    family = _family(output={"parameters": {"decoded": True}})
    (found,) = _find(family, _rows(_0=(16, 8, 16, 8, 1, 1, 0)), geometry=tall)
    assert found.bbox == pytest.approx((0.25, 0.125, 0.75, 0.375))


@pytest.mark.parametrize(
    ("objectness", "score", "threshold", "count"),
    [(0.7, 0.8, None, 1), (0.9, 0.5, None, 0), (0.45, 1.0, None, 0), (0.9, 0.5, 0.4, 1), (0, 0, 0.0, ROWS)],
)
def test_only_the_product_counts(objectness, score, threshold, count):
    rows = _rows(_3=(0, 0, 0, 0, objectness, score, 0))
    family = _family(thresholds={"nms_iou": 1.0})
    assert len(_find(family, rows, Options(threshold=threshold))) == count


def test_overlap_is_settled_within_a_label_only():
    one, other = (0, 0, 1, 1, 0.9, 0.9, 0), (0, 0, 1, 1, 0.9, 0, 0.8)
    same = (0.1, 0, 1, 1, 0.9, 0.7, 0)
    rows = _rows(_9=one, _41=(9, 9, 0, 0, 0, 0, 0))
    rows[10] = -1 + 0.1, 0, 1, 1, *same[4:]
    assert [found.score for found in _find(_family(), rows)] == pytest.approx([0.81])
    rows[10, 4:] = other[4:]
    assert [found.score for found in _find(_family(), rows)] == pytest.approx([0.81, 0.72])
    assert len(_find(_family(), rows, Options(max_detections=1))) == 1


def test_nothing_is_found_in_nothing():
    assert _find(_family(), _rows()) == ()


@pytest.mark.parametrize("sides", [1000.0, -1000.0])
def test_extreme_sides_make_no_infinity(sides):
    found = _find(_family(), _rows(_20=(0.5, 0.5, sides, sides, 1, 1, 0)))
    assert [one.bbox for one in found] == ([(0, 0, 1, 1)] if sides > 0 else [])


@pytest.mark.parametrize("shape", [(ROWS, 6), (ROWS, 8), (ROWS - 1, 7), (7, ROWS), (ROWS,), ()])
def test_another_shape_is_named(shape):
    with pytest.raises(ModelFailed, match=rf"\[{ROWS}, 7\] \(family 'yolox': one row per cell.*found"):
        _family().check({"out": np.zeros(shape, np.float32)})


@pytest.mark.parametrize(("column", "what"), [(4, "objectness"), (6, "class scores")])
@pytest.mark.parametrize("value", [3.0, -2.0])
def test_scores_that_are_not_activated_are_refused(column, what, value):
    rows = np.zeros((ROWS, 7), np.float32)
    rows[:, 4] = 0.5
    rows[:, column] = value
    with pytest.raises(ModelFailed, match=rf"{what} must lie in 0\.\.1"):
        _find(_family(), rows, Options(threshold=0.0))
