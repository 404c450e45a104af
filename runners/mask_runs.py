"""Masks as run lengths: from pixels, and for the classes of a map."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hotswap.predictions import Mask


def mask_of(inside: NDArray[np.bool_]) -> Mask:
    """The mask of an array [height, width] that says which pixels are inside."""
    height, width = inside.shape
    flat = inside.ravel(order="F")  # COCO's runs go down the columns
    changes = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    starts = [0] if flat[0] else []
    ends = np.concatenate([np.array(starts, np.int64), changes, [flat.size]])
    return Mask(width, height, np.diff(ends, prepend=0).astype(np.int64))
