"""The detector families, on tensors made by hand."""

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
from tests.runners.graphs import FASTESTDET, SHAPES

WHOLE = place("stretch", (80, 40), (8, 8))
HALF = place("letterbox", (80, 40), (8, 8))
V2 = {"output": {"parameters": {"objectness_exponent": 0.6, "class_exponent": 0.4}}}


def _family(document, **changes):
    return family_of(parse_config(json.dumps(document | changes)))


def _find(family, grid, options=Options(), geometry=WHOLE):  # noqa: B008 - frozen
    outputs = {"out": grid}
    family.check(outputs)
    return family.find(outputs, geometry, options).detections


def _fastestdet_grid():
    """A map of 4 x 5 cells with one circle in row 1, column 3."""
    grid = np.zeros((7, 4, 5), dtype=np.float32)
    grid[0, 1, 3] = 0.9
    grid[1:5, 1, 3] = math.atanh(0.5), math.atanh(-0.25), math.log(0.4 / 0.6), math.log(0.2 / 0.8)
    grid[5:, 1, 3] = 0.8, 0.1
    return grid


def test_fastestdet_reads_a_cell():
    (found,) = _find(_family(FASTESTDET), _fastestdet_grid())
    assert (found.label, found.label_id) == ("circle", 0)
    assert found.score == pytest.approx(0.9 * 0.8)
    centre_x, centre_y = (3 + 0.5) / 5, (1 - 0.25) / 4
    wanted = (centre_x - 0.2, centre_y - 0.1, centre_x + 0.2, centre_y + 0.1)
    assert found.bbox == pytest.approx(wanted, abs=1e-6)


def test_fastestdet_versions_differ_in_the_formula():
    (found,) = _find(_family(FASTESTDET, **V2), _fastestdet_grid())
    assert found.score == pytest.approx(0.9**0.6 * 0.8**0.4)


def test_fastestdet_survives_extreme_sides():
    grid = _fastestdet_grid()
    grid[1:5, 1, 3] = 0, 0, 1000, -1000
    assert _find(_family(FASTESTDET), grid) == ()
    grid[4, 1, 3] = 1000
    (found,) = _find(_family(FASTESTDET), grid)
    assert found.bbox == pytest.approx((0.1, 0.0, 1.0, 0.75))


def _shapes_grid():
    """A map of 2 x 4 cells with a square in row 1, column 2."""
    grid = np.zeros((6, 2, 4), dtype=np.float32)
    grid[:4, 1, 2] = 0.1, 0.2, 0.3, 0.15
    grid[4:, 1, 2] = 0.2, 0.7
    return grid


def test_shapes_reads_a_cell():
    (found,) = _find(_family(SHAPES), _shapes_grid())
    assert (found.label, found.label_id) == ("square", 1)
    assert found.score == pytest.approx(0.7)
    centre_x, centre_y = 2.5 / 4, 1.5 / 2
    wanted = (centre_x - 0.1, centre_y - 0.2, centre_x + 0.3, centre_y + 0.15)
    assert found.bbox == pytest.approx(wanted, abs=1e-6)


def test_boxes_are_mapped_back_to_the_picture():
    grid = np.zeros((6, 1, 1), dtype=np.float32)
    grid[:, 0, 0] = 0.25, 0.25, 0.25, 0.0, 0.9, 0.0
    (found,) = _find(_family(SHAPES), grid, geometry=HALF)
    assert found.bbox == pytest.approx((0.25, 0.5, 0.75, 1.0))


def _two_cells(first, second):
    grid = np.zeros((6, 1, 2), dtype=np.float32)
    grid[:, 0, 0] = 0.25, 0.5, 0.25, 0.5, *first
    grid[:, 0, 1] = 0.7, 0.5, -0.2, 0.5, *second
    return grid


def test_overlap_is_settled_within_a_label_only():
    family = _family(SHAPES)
    assert [one.score for one in _find(family, _two_cells((0.6, 0), (0.75, 0)))] == pytest.approx([0.75])
    scores = [one.score for one in _find(family, _two_cells((0.6, 0), (0, 0.75)))]
    assert scores == pytest.approx([0.75, 0.6])


def test_the_overlap_allowed_is_the_models():
    family = _family(SHAPES, thresholds={"score": 0.5, "nms_iou": 0.99})
    assert len(_find(family, _two_cells((0.6, 0), (0.75, 0)))) == 2


@pytest.mark.parametrize(
    ("options", "count"),
    [
        (Options(), 1),
        (Options(threshold=0.25), 2),
        (Options(threshold=0.8), 0),
        (Options(threshold=0.25, max_detections=1), 1),
    ],
)
@pytest.mark.parametrize("document", [SHAPES, FASTESTDET])
def test_the_request_may_choose_threshold_and_number(document, options, count):
    family = _family(document)
    if family.name == "shapes":
        grid = _two_cells((0.3, 0), (0, 0.75))
    else:
        grid = np.zeros((7, 1, 2), dtype=np.float32)
        grid[0], grid[5, 0, 0], grid[6, 0, 1] = 1.0, 0.3, 0.75
    assert len(_find(family, grid, options)) == count


@pytest.mark.parametrize(("document", "channels"), [(SHAPES, 6), (FASTESTDET, 7)])
@pytest.mark.parametrize("shape", [(5, 2, 2), (8, 2, 2), (6, 4), (7, 4), (6,), ()])
def test_a_map_of_another_shape_is_named(document, channels, shape):
    with pytest.raises(ModelFailed, match=rf"\[{channels}, H, W\].*found"):
        _family(document).check({"out": np.zeros(shape, np.float32)})


@pytest.mark.parametrize(("document", "channels"), [(SHAPES, 6), (FASTESTDET, 7)])
@pytest.mark.parametrize("value", [3.0, -2.0])
def test_scores_that_are_not_activated_are_refused(document, channels, value):
    grid = np.full((channels, 2, 2), value, dtype=np.float32)
    with pytest.raises(ModelFailed, match=r"0\.\.1"):
        _find(_family(document), grid)


def test_scores_past_one_by_rounding_are_one():
    found = _find(_family(SHAPES), np.full((6, 2, 4), 1.0001, dtype=np.float32))
    assert {one.score for one in found} == {1.0}
