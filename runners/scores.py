"""Scores: they lie in 0..1, or the config does not describe the graph."""

from __future__ import annotations

import numpy as np

from hotswap.errors import ModelFailed
from runners.geometry import Floats

# What a float16 softmax may miss 0..1 by.
_SLACK = 1e-3


def as_scores(values: Floats, what: str, hint: str = "the graph should end activated") -> Floats:
    """Return the values clipped to 0..1; raise `ModelFailed` if they lie further out than rounding."""
    if values.size and (values.min() < -_SLACK or values.max() > 1 + _SLACK):
        raise ModelFailed(f"{what} must lie in 0..1, found {values.min():.4g}..{values.max():.4g}: {hint}")
    return values.clip(0.0, 1.0)


def softmax(logits: Floats) -> Floats:
    """The softmax of a vector."""
    powers = np.exp(logits - logits.max())
    result: Floats = powers / powers.sum()
    return result
