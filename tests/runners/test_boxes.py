"""Choosing among overlapping boxes, against the loop that everybody writes first."""

from __future__ import annotations

import numpy as np
import pytest

from runners.boxes import MOST_CANDIDATES, as_detections, nms, overlaps
from runners.geometry import place

WHOLE = place("stretch", (10, 10), (10, 10))


def _plain_iou(a, b):
    across = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
    down = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    shared = across * down
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared
    return shared / union if union > 0 else 0.0


def _plain_nms(boxes, scores, labels, limit):
    kept = []
    for i in sorted(range(len(boxes)), key=lambda i: -scores[i]):
        if all(labels[i] != labels[j] or _plain_iou(boxes[i], boxes[j]) <= limit for j in kept):
            kept.append(i)
    return kept


def _random_boxes(seed, count):
    numbers = np.random.default_rng(seed)
    centre, half = numbers.uniform(0, 1, (count, 2)), numbers.uniform(0, 0.3, (count, 2))
    boxes = np.concatenate([centre - half, centre + half], axis=1).astype(np.float32)
    return boxes, numbers.uniform(0, 1, count).astype(np.float32), numbers.integers(0, 3, count)


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("limit", [0.0, 0.3, 0.45, 1.0])
def test_nms_keeps_what_the_plain_loop_keeps(seed, limit):
    boxes, scores, labels = _random_boxes(seed, 60)
    assert nms(boxes, scores, labels, limit).tolist() == _plain_nms(boxes, scores, labels, limit)


@pytest.mark.parametrize("seed", range(5))
def test_overlap_is_that_of_the_plain_formula(seed):
    boxes, _, _ = _random_boxes(seed, 12)
    table = overlaps(boxes, boxes[:5])
    assert table.shape == (12, 5)
    for i in range(12):
        for j in range(5):
            assert table[i, j] == pytest.approx(_plain_iou(boxes[i], boxes[j]), abs=1e-5)


def test_other_labels_are_no_rivals():
    boxes = np.array([[0, 0, 1, 1], [0, 0, 1, 1], [0, 0, 1, 1]], dtype=np.float32)
    assert nms(boxes, np.array([0.5, 0.9, 0.7]), np.array([0, 0, 1]), 0.5).tolist() == [1, 2]


def test_empty_boxes_overlap_nothing():
    boxes = np.array([[0.5, 0.5, 0.5, 0.5], [0.5, 0.5, 0.5, 0.5]])
    assert overlaps(boxes, boxes).tolist() == [[0.0, 0.0], [0.0, 0.0]]
    assert nms(np.zeros((0, 4)), np.zeros(0), np.zeros(0), 0.5).tolist() == []


def test_only_the_best_candidates_are_looked_at():
    count = MOST_CANDIDATES + 50
    boxes = np.tile(np.array([[0.0, 0.0, 1.0, 1.0]]), (count, 1))
    kept = nms(boxes, np.linspace(0, 1, count), np.arange(count), 0.5)
    assert kept.tolist() == list(range(count - 1, count - 1 - MOST_CANDIDATES, -1))


def _detect(boxes, scores, limit=10):
    count = len(scores)
    return as_detections(
        np.array(boxes, dtype=np.float32),
        np.array(scores, dtype=np.float32),
        np.arange(count),
        labels=[f"label {i}" for i in range(count)],
        geometry=WHOLE,
        nms_iou=0.5,
        limit=limit,
    )


def test_detections_are_plain_sorted_and_inside_the_picture():
    found = _detect([[0.2, 0.2, 0.5, 0.5], [-0.5, 0.5, 0.5, 1.5]], [0.25, 0.75])
    assert [one.label for one in found] == ["label 1", "label 0"]
    assert found[0].bbox == (0.0, 0.5, 0.5, 1.0)
    assert [type(value) for value in found[0].bbox] == [float] * 4
    assert type(found[0].score) is float
    assert type(found[0].label_id) is int


def test_boxes_without_area_do_not_take_the_place_of_others():
    outside, line, solid = [1.2, 0.1, 1.5, 0.4], [0.1, 0.3, 0.6, 0.3], [0.1, 0.1, 0.4, 0.4]
    found = _detect([outside, line, solid], [0.9, 0.8, 0.7], limit=1)
    assert [one.label for one in found] == ["label 2"]
