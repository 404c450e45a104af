"""Family `nanodet`, on tensors made by hand."""

from __future__ import annotations

import json
import random

import numpy as np
import pytest

from hotswap.errors import ModelFailed, VersionFailed
from hotswap.predictions import Options
from manifest.version_manifest import BadManifest, parse_config
from runners.families.index import family_of
from runners.geometry import place

DOCUMENT = {
    "task": "object-detection",
    "family": "nanodet",
    "input": {"width": 64, "height": 32},
    "labels": ["circle", "square"],
}
CELLS = {8: 32, 16: 8, 32: 2}
BINS = 8
WHOLE = place("stretch", (80, 40), (64, 32))
OTHERS = ["a", "b", "c", "d", "e", "f"]


def _family(**parts):
    return family_of(parse_config(json.dumps(DOCUMENT | parts)))


def _outputs(*cells):
    """No object but in these cells: (stride, number, class scores, bins of the four sides)."""
    outputs = {f"cls_pred_stride_{stride}": np.zeros((n, 2), np.float32) for stride, n in CELLS.items()}
    outputs |= {f"dis_pred_stride_{s}": np.zeros((n, 4 * BINS), np.float32) for s, n in CELLS.items()}
    for stride, number, scores, sides in cells:
        outputs[f"cls_pred_stride_{stride}"][number] = scores
        logits = outputs[f"dis_pred_stride_{stride}"][number].reshape(4, BINS)
        for side, bins in zip(logits, sides, strict=True):
            side[list(bins)] = 60.0
    return outputs


def _find(family, outputs, options=Options(), geometry=WHOLE):  # noqa: B008 - frozen
    family.check(outputs)
    return family.find(outputs, geometry, options).detections


@pytest.mark.parametrize(
    ("stride", "number", "x", "y"), [(8, 0, 0, 0), (8, 9, 1, 1), (8, 31, 7, 3), (16, 7, 3, 1), (32, 1, 1, 0)]
)
def test_a_cell_names_the_distances_of_its_sides(stride, number, x, y):
    outputs = _outputs((stride, number, (0.2, 0.7), [(0, 1), (0,), (0, 1), (1,)]))
    (found,) = _find(_family(), outputs)
    assert (found.label, found.label_id) == ("square", 1)
    assert found.score == pytest.approx(0.7)
    across, down = x * stride + (stride - 1) / 2, y * stride + (stride - 1) / 2
    wanted = across - 0.5 * stride, down, across + 0.5 * stride, down + stride
    wanted = [min(1, max(0, value / side)) for value, side in zip(wanted, (64, 32) * 2, strict=True)]
    assert found.bbox == pytest.approx(wanted, abs=1e-6)


def test_a_distance_is_the_expectation_of_all_bins():
    outputs = _outputs((32, 0, (0.9, 0), [(0,), (0,), (0,), (0,)]))
    outputs["dis_pred_stride_32"][0, 2 * BINS : 3 * BINS] = np.log([3, 1] + [1e-9] * 6)
    outputs["dis_pred_stride_32"][0, 3 * BINS : 4 * BINS] = np.log([1, 3] + [1e-9] * 6)
    (found,) = _find(_family(), outputs)
    assert found.bbox == pytest.approx((15.5 / 64, 15.5 / 32, 23.5 / 64, 1), abs=1e-5)


def test_outputs_are_bound_by_name():
    outputs = _outputs((16, 7, (0.2, 0.7), [(1,)] * 4), (8, 3, (0.6, 0.1), [(1,)] * 4))
    names = list(outputs)
    wanted = _find(_family(), outputs)
    for seed in range(5):
        random.Random(seed).shuffle(names)
        family = _family()
        assert family.reads([*names, "more"]) == tuple(outputs)
        assert _find(family, {name: outputs[name] for name in names}) == wanted


def test_an_export_with_other_names_lists_them_in_the_usual_order():
    outputs = _outputs((16, 7, (0.2, 0.7), [(1,)] * 4))
    family = _family(output={"names": OTHERS})
    assert family.reads(OTHERS[::-1]) == tuple(OTHERS)
    renamed = dict(zip(OTHERS, outputs.values(), strict=True))
    assert _find(family, renamed) == _find(_family(), outputs)


@pytest.mark.parametrize("names", [OTHERS[:5], [*OTHERS, "g"], [*OTHERS, "a"], [*OTHERS[:5], "a"]])
def test_too_few_or_doubled_names_are_refused(names):
    with pytest.raises(BadManifest, match=r"output\.names: family 'nanodet' reads 6 outputs \(cls_pred"):
        _family(output={"names": names})


def test_a_graph_of_another_family_is_refused_with_what_it_has():
    with pytest.raises(VersionFailed, match=r"'nanodet' reads cls_pred_stride_8.*the graph has output;"):
        _family().reads(["output"])


@pytest.mark.parametrize(
    ("options", "count"),
    [(Options(), 1), (Options(threshold=0.2), 2), (Options(threshold=0.2, max_detections=1), 1)],
)
def test_the_request_may_choose_threshold_and_number(options, count):
    outputs = _outputs((16, 7, (0.2, 0.7), [(1,)] * 4), (8, 3, (0.3, 0.1), [(1,)] * 4))
    assert len(_find(_family(), outputs, options)) == count


def test_overlap_is_settled_within_a_label_over_all_grids():
    cells = (8, 9, (0.9, 0), [(1,)] * 4), (16, 0, (0.8, 0), [(0,), (0,), (1,), (1,)])
    assert len(_find(_family(thresholds={"nms_iou": 0.2}), _outputs(*cells))) == 1
    assert len(_find(_family(thresholds={"nms_iou": 0.9}), _outputs(*cells))) == 2
    cells = cells[0], (16, 0, (0, 0.8), [(0,), (0,), (1,), (1,)])
    assert len(_find(_family(thresholds={"nms_iou": 0.2}), _outputs(*cells))) == 2


def test_nothing_is_found_in_nothing():
    assert _find(_family(), _outputs()) == ()


@pytest.mark.parametrize("name", list(_outputs()))
@pytest.mark.parametrize("shape", [(3, 2), (2, 3), (2,), (), (2, 0)])
def test_another_shape_is_named(name, shape):
    outputs = _outputs() | {name: np.zeros(shape, np.float32)}
    with pytest.raises(ModelFailed, match=rf"for {name}, found"):
        _family().check(outputs)


@pytest.mark.parametrize("value", [3.0, -2.0])
def test_scores_that_are_not_activated_are_refused(value):
    outputs = _outputs()
    outputs["cls_pred_stride_16"][...] = value
    with pytest.raises(ModelFailed, match=r"class scores must lie in 0\.\.1"):
        _find(_family(), outputs)
