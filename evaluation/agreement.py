"""What two answers to a picture have in common: findings at one place, and how far they agree. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from hotswap.predictions import Detection, Prediction
from runners.boxes import overlaps

#: Overlap (IoU) from which two boxes mean the same object.
_SAME = 0.5


def pairs_at_one_place(
    first: Sequence[Detection], second: Sequence[Detection], least: float, fits: Callable[[int, int], bool]
) -> dict[int, int]:
    """Pairs whose boxes overlap (IoU) by `least`, above 0, or more, each finding in one: first → second.

    Greedy, the greatest overlap first; equal ones in the order of `first`, then of `second`. `fits` says
    whether two findings, by their places in the sequences, may be a pair. One without a box is in none.
    """
    pairs: dict[int, int] = {}
    if not (first and second):
        return pairs
    shares = overlaps(_boxes(first), _boxes(second))
    taken: set[int] = set()
    places = np.argwhere(shares >= least)
    for one, other in places[np.argsort(-shares[shares >= least], kind="stable")].tolist():
        if one not in pairs and other not in taken and fits(one, other):
            pairs[one] = other
            taken.add(other)
    return pairs


def _boxes(found: Sequence[Detection]) -> NDArray[np.float64]:
    """Rows [N, 4] in float64; one without area where there is no box."""
    return np.array([each.bbox or (0.0,) * 4 for each in found], dtype=float)


def agreement(first: Prediction, second: Prediction, *, by_label: bool = True) -> float | None:
    """How far two answers agree, in 0..1; None where answers of their kind cannot be compared.

    Boxes: twice the score of what both find over the score of all they find (Dice's coefficient, weighted),
    so that what is found with little confidence counts little. Labels of the whole picture: whether the first
    one is the same. Without `by_label` a box needs no equal label.
    """
    if _is_unlike(first) or _is_unlike(second):
        return None
    boxes = [[each for each in one.detections if each.bbox is not None] for one in (first, second)]
    if not any(boxes):
        return _same_label(first.detections, second.detections, by_label=by_label)
    total = sum(each.score for one in boxes for each in one)
    return _shared(*boxes, by_label=by_label) / total if total > 0 else 1.0


def _is_unlike(one: Prediction) -> bool:
    """Whether it is no list of findings: vectors of two versions lie in different spaces."""
    return one.embedding is not None or one.tensors is not None or one.result is not None


def _same_label(first: Sequence[Detection], second: Sequence[Detection], *, by_label: bool) -> float | None:
    if not first and not second:
        return 1.0
    if not first or not second:
        return 0.0
    return float(first[0].label == second[0].label) if by_label else None


def _shared(first: Sequence[Detection], second: Sequence[Detection], *, by_label: bool) -> float:
    """The score of all pairs."""
    pairs = pairs_at_one_place(
        first, second, _SAME, lambda one, other: not by_label or first[one].label == second[other].label
    )
    return sum(first[one].score + second[other].score for one, other in pairs.items())
