"""Which findings of two answers to one picture lie at the same place. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from hotswap.predictions import Detection
from runners.boxes import overlaps


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
