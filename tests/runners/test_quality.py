"""AP50 on cases that can be worked out on paper."""

from __future__ import annotations

import pytest

from evaluation.average_precision import Truth, ap50, iou, mean_ap50
from hotswap.predictions import Detection

LEFT, RIGHT, NOWHERE = (0.0, 0.0, 0.4, 0.4), (0.6, 0.0, 1.0, 0.4), (0.0, 0.8, 0.1, 0.9)


def _found(score, box, label="cat"):
    return Detection(label, 0, score, box)


def test_iou():
    assert iou(LEFT, LEFT) == pytest.approx(1.0)
    assert iou(LEFT, RIGHT) == 0.0
    assert iou((0, 0, 2, 2), (1, 0, 3, 2)) == pytest.approx(1 / 3)


def test_all_found_and_nothing_else_is_one():
    truth = [[Truth("cat", LEFT), Truth("cat", RIGHT)]]
    assert ap50([[_found(0.9, LEFT), _found(0.8, RIGHT)]], truth) == {"cat": 1.0}


def test_nothing_found_is_zero():
    assert ap50([[]], [[Truth("cat", LEFT)]]) == {"cat": 0.0}
    assert mean_ap50([[]], [[]]) == 0.0


def test_a_better_scored_mistake_costs_precision():
    truth = [[Truth("cat", LEFT)]]
    assert ap50([[_found(0.9, NOWHERE), _found(0.8, LEFT)]], truth)["cat"] == pytest.approx(0.5)
    assert ap50([[_found(0.7, NOWHERE), _found(0.8, LEFT)]], truth)["cat"] == pytest.approx(1.0)


def test_the_envelope_is_taken_at_all_points():
    truth = [[Truth("cat", LEFT), Truth("cat", RIGHT)]]
    found = [[_found(0.9, LEFT), _found(0.8, NOWHERE), _found(0.7, RIGHT)]]
    assert ap50(found, truth)["cat"] == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)


def test_an_object_counts_once():
    found = [[_found(0.9, LEFT), _found(0.8, LEFT), _found(0.7, RIGHT)]]
    truth = [[Truth("cat", LEFT), Truth("cat", RIGHT)]]
    assert ap50(found, truth)["cat"] == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)


def test_scores_are_ranked_over_all_pictures():
    truth = [[Truth("cat", LEFT)], [Truth("cat", LEFT)]]
    found = [[_found(0.3, LEFT)], [_found(0.9, NOWHERE), _found(0.5, LEFT)]]
    assert ap50(found, truth)["cat"] == pytest.approx(2 / 3)


def test_the_mean_is_over_the_labels_that_occur():
    truth = [[Truth("cat", LEFT), Truth("dog", RIGHT)]]
    found = [[_found(0.9, LEFT), _found(0.9, RIGHT, "horse")]]
    assert ap50(found, truth) == {"cat": 1.0, "dog": 0.0}
    assert mean_ap50(found, truth) == pytest.approx(0.5)


def test_an_overlap_below_a_half_is_no_find():
    shifted = (0.2, 0.0, 0.6, 0.4)
    assert ap50([[_found(0.9, shifted)]], [[Truth("cat", LEFT)]])["cat"] == 0.0
