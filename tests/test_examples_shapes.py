"""The demo's drawings, decoding and score: what a trained file is made from and judged by."""

import numpy as np
import pytest

from examples.shapes.decoding import GRID, Detection, decode, shrink, to_input
from examples.shapes.drawing import LABELS, Truth, numbered_scene
from examples.shapes.evaluate import ap50, average_precision


def empty() -> np.ndarray:
    return np.zeros((4 + len(LABELS), GRID, GRID), np.float32)


def answer_at(prediction: np.ndarray, x: int, y: int, label: int, score: float) -> None:
    prediction[:4, y, x] = 0.1
    prediction[4 + label, y, x] = score


def test_the_same_seed_draws_the_same_picture() -> None:
    first, again, other = (numbered_scene(5, index) for index in (3, 3, 4))
    assert first.picture.tobytes() == again.picture.tobytes()
    assert first.truths == again.truths
    assert first.truths != other.truths


@pytest.mark.parametrize("index", range(12))
def test_every_scene_holds_shapes_inside_the_picture(index: int) -> None:
    truths = numbered_scene(5, index, (320, 240)).truths
    assert 1 <= len(truths) <= 5
    for label, (x1, y1, x2, y2) in truths:
        assert 0 <= label < len(LABELS)
        assert 0 <= x1 < x2 <= 1
        assert 0 <= y1 < y2 <= 1


def test_a_picture_of_any_size_becomes_the_networks_square() -> None:
    image = to_input(shrink(numbered_scene(5, 0, (400, 225)).picture)[None])
    assert image.shape == (1, 3, 128, 128)
    assert image.dtype == np.float32
    assert 0 <= image.min() < image.max() <= 1


def test_a_cell_answers_with_the_box_around_its_centre() -> None:
    prediction = empty()
    answer_at(prediction, 8, 4, label=2, score=0.9)
    (found,) = decode(prediction, threshold=0.5)
    assert found.label == 2
    assert found.score == pytest.approx(0.9)
    assert found.box == pytest.approx((8.5 / 16 - 0.1, 4.5 / 16 - 0.1, 8.5 / 16 + 0.1, 4.5 / 16 + 0.1))


def test_a_box_ends_at_the_pictures_edge() -> None:
    prediction = empty()
    answer_at(prediction, 0, 0, label=0, score=0.9)
    assert decode(prediction, threshold=0.5)[0].box[:2] == (0.0, 0.0)


def test_only_the_best_of_overlapping_boxes_of_one_label_stays() -> None:
    prediction = empty()
    answer_at(prediction, 8, 8, label=1, score=0.7)
    answer_at(prediction, 9, 8, label=1, score=0.8)
    answer_at(prediction, 8, 9, label=3, score=0.6)
    assert [(found.label, round(found.score, 1)) for found in decode(prediction, 0.5)] == [(1, 0.8), (3, 0.6)]


def test_average_precision_is_the_area_under_the_best_precision() -> None:
    marked = [(0.9, True), (0.8, False), (0.7, True), (0.6, False)]
    assert average_precision(marked, truths=2) == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)


def test_a_shape_found_twice_counts_once() -> None:
    box = (0.2, 0.2, 0.6, 0.6)
    truths = [Truth(label, box) for label in range(len(LABELS))]
    found = [Detection(label, score, box) for label in range(len(LABELS)) for score in (0.9, 0.8)]
    assert ap50([(truths, found)])["mean"] == 1
    assert ap50([(truths * 2, found[::2])])["mean"] == 0.5
