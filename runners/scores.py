"""Scores: the check that they lie in 0..1, and softmax."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hotswap.errors import ModelFailed
from runners.interpolate import Floats

# The rounding error of a float16 softmax.
_SLACK = 1e-3
# Of a set of queries: 300 pairs in RT-DETR, 100 in others, of which more only lie below any threshold.
_MOST_PAIRS = 300


def as_scores(values: Floats, name: str, hint: str = "the graph should end with an activation") -> Floats:
    """The values clipped to 0..1. Raises `ModelFailed` if they exceed 0..1 by more than rounding errors."""
    if values.size and (values.min() < -_SLACK or values.max() > 1 + _SLACK):
        raise ModelFailed(f"{name} must lie in 0..1, found {values.min():.4g}..{values.max():.4g}: {hint}")
    return values.clip(0.0, 1.0)


def best_classes(
    objectness: Floats, classes: Floats, least: float
) -> tuple[NDArray[np.intp], Floats, NDArray[np.intp]]:
    """Of rows with an objectness [N] and class scores [N, C] those whose product reaches `least`.

    Their places [K], the product with the best class [K], and that class [K]. Raises `ModelFailed` as
    `as_scores` does.
    """
    objectness = as_scores(objectness, "objectness")
    # A class score is at most 1, so the product reaches the threshold only where the objectness does.
    likely = np.flatnonzero(objectness >= least)
    likely_classes = as_scores(classes[likely], "class scores")
    labels = likely_classes.argmax(axis=1)
    scores = objectness[likely] * likely_classes[np.arange(len(likely)), labels]
    good = scores >= least
    return likely[good], scores[good], labels[good]


def sigmoid(logits: Floats) -> Floats:
    """The sigmoid of each value; 0 for -inf."""
    with np.errstate(over="ignore"):
        result: Floats = 1 / (1 + np.exp(-logits))
    return result


def softmax(logits: Floats) -> Floats:
    """The softmax over the last axis."""
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    result: Floats = powers / powers.sum(axis=-1, keepdims=True)
    return result


def best_pairs(scores: Floats) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Query and class of the best pairs of scores [Q, C], by descending score: as many as count."""
    best = np.argsort(-scores.ravel(), kind="stable")[:_MOST_PAIRS]
    query, label = np.divmod(best, scores.shape[1])
    return query, label
