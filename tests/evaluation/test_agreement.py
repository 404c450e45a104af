"""How far two answers to one picture agree."""

from __future__ import annotations

import numpy as np
import pytest

from evaluation.agreement import agreement
from hotswap.predictions import Box, Detection, Prediction

LEFT, RIGHT = (0.0, 0.0, 0.4, 0.4), (0.6, 0.6, 1.0, 1.0)
NEAR = (0.02, 0.0, 0.42, 0.4)


def said(*found: tuple[str, float, Box | None]) -> Prediction:
    """An answer."""
    detections = tuple(Detection(label, 0, score, box) for label, score, box in found)
    return Prediction(detections, "v1", 100, 100)


CAT, DOG = ("cat", 0.9, LEFT), ("dog", 0.9, RIGHT)


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ((), (), 1.0),
        ((CAT, DOG), (DOG, CAT), 1.0),
        ((CAT,), (("cat", 0.9, NEAR),), 1.0),
        ((CAT,), (), 0.0),
        ((), (CAT,), 0.0),
        ((CAT,), (("dog", 0.9, LEFT),), 0.0),
        ((CAT,), (("cat", 0.9, RIGHT),), 0.0),
        ((CAT, DOG), (CAT,), 2 / 3),
        ((CAT,), (CAT, ("cat", 0.1, RIGHT)), 18 / 19),  # what is found with little confidence counts little
        ((CAT,), (CAT, CAT), 2 / 3),  # a finding agrees with one other
        ((("cat", 0.0, LEFT),), (), 1.0),
    ],
)
def test_boxes(first: tuple[object, ...], second: tuple[object, ...], expected: float) -> None:
    assert agreement(said(*first), said(*second)) == pytest.approx(expected)  # type: ignore[arg-type]
    assert agreement(said(*second), said(*first)) == pytest.approx(expected)  # type: ignore[arg-type]


def test_other_labels_count_for_nothing_where_they_were_changed_on_purpose() -> None:
    assert agreement(said(CAT), said(("kitten", 0.8, NEAR)), by_label=False) == 1.0
    assert agreement(said(("cat", 0.9, None)), said(("kitten", 0.9, None)), by_label=False) is None


def test_of_labels_of_a_whole_picture_the_first_one_counts() -> None:
    answers = [said((first, 0.6, None), (second, 0.4, None)) for first, second in ("ab", "ac", "ba")]
    assert agreement(answers[0], answers[1]) == 1.0
    assert agreement(answers[0], answers[2]) == 0.0
    assert agreement(answers[0], said()) == 0.0


def test_vectors_of_two_versions_lie_in_different_spaces() -> None:
    vector = Prediction((), "v1", 8, 8, embedding=np.zeros(2, np.float32))
    assert agreement(vector, vector) is None
