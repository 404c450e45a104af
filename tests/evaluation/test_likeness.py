"""How alike two answers are, and how much of that is evidence."""

from __future__ import annotations

import numpy as np
import pytest

from evaluation.likeness import Rules, Tally, likeness, total
from hotswap.predictions import Box, Detection, Prediction

RULES = Rules(min_iou=0.5, sure=0.5)
BOX: Box = (0.1, 0.1, 0.5, 0.5)
FAR: Box = (0.6, 0.6, 0.9, 0.9)


def answer(*found: tuple[str, float, Box | None], vector: list[float] | None = None) -> Prediction:
    detections = tuple(Detection(label, 0, score, box) for label, score, box in found)
    embedding = None if vector is None else np.array(vector, np.float32)
    return Prediction(detections, "v1", 8, 8, embedding=embedding)


@pytest.mark.parametrize(
    ("first", "second", "alike", "objects"),
    [
        ([("cat", 0.9, BOX)], [("cat", 0.8, BOX)], 1, 1),
        ([("cat", 0.9, BOX)], [("dog", 0.9, BOX)], 0, 2),
        ([("cat", 0.9, BOX)], [("cat", 0.9, FAR)], 0, 2),
        ([("cat", 0.9, BOX)], [("cat", 0.35, BOX)], 1, 1),  # less sure, and yet seen
        ([("cat", 0.4, BOX)], [("cat", 0.4, BOX)], 0, 0),  # neither is sure
        ([("cat", 0.9, BOX)], [], 0, 1),
        ([("cat", 0.9, BOX), ("cat", 0.8, BOX)], [("cat", 0.9, BOX)], 1, 2),  # one to one
        ([], [], 0, 0),
    ],
)
def test_objects_are_paired_by_label_and_place(
    first: list[tuple[str, float, Box | None]],
    second: list[tuple[str, float, Box | None]],
    alike: int,
    objects: int,
) -> None:
    for one, other in ((first, second), (second, first)):
        found = likeness(answer(*one), answer(*other), RULES)
        assert (found.alike, found.objects, found.pictures) == (alike, objects, 1)


def test_of_labels_for_the_whole_picture_the_best_counts() -> None:
    night = answer(("dark", 0.7, None), ("bright", 0.3, None))
    assert likeness(night, answer(("dark", 0.4, None)), RULES).alike == 1
    assert likeness(night, answer(("bright", 0.9, None)), RULES).alike == 0


def test_vectors_are_as_alike_as_their_cosine() -> None:
    assert likeness(answer(vector=[1, 0]), answer(vector=[1, 1]), RULES).alike == pytest.approx(
        0.7071, abs=1e-4
    )
    assert likeness(answer(vector=[1, 0]), answer(vector=[-1, 0]), RULES).alike == 0


def test_few_objects_say_little_about_a_share() -> None:
    # Wilson (1927), one-sided 95 %: 8 of 10.
    low, high = Tally(8, 10, 2).interval
    assert (low, high) == (pytest.approx(0.5411, abs=1e-3), pytest.approx(0.9314, abs=1e-3))
    assert Tally().interval == (0.0, 1.0)
    assert total([Tally(1, 2, 1), Tally(3, 4, 1)]) == Tally(4, 6, 2)


@pytest.mark.parametrize(
    ("tally", "bound", "needed"),
    [
        (Tally(2, 2, 2), 0.5, 1),  # three objects that all agree decide about a half
        (Tally(4, 4, 1), 0.9, 6),  # 25 objects, four in each picture
        (Tally(0, 0, 3), 0.5, 3),
        (Tally(5, 10, 1), 0.5, 999),  # what lies on the bound is never decided
    ],
)
def test_it_says_how_many_more_pictures_would_decide(tally: Tally, bound: float, needed: int) -> None:
    assert tally.pictures_needed(bound) == needed
