"""The mask that shows DETR and its kin which pixels of the input show a picture."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runners.geometry import Geometry
from runners.graph_check import GraphTensor
from runners.tensors import numpy_type

PIXEL_MASK = "pixel_mask"


class PixelMask:
    """`pixel_mask` [N, h, w]: 1 where the input shows a picture, 0 where it is filled.

    Of the sides that the graph declares: some exports fix 64 and 64, whatever the input's size; open ones are
    those of the input.
    """

    def __init__(self, inputs: Sequence[GraphTensor]) -> None:
        declared = next((tensor for tensor in inputs if tensor.name == PIXEL_MASK), None)
        self._dtype = np.int64 if declared is None else numpy_type(declared.type)
        self._sides = (None, None) if declared is None else tuple(declared.shape[1:3])

    def of(self, placed: Sequence[Geometry]) -> NDArray[Any]:
        """The mask of a batch."""
        first = placed[0]
        height, width = (
            side if isinstance(side, int) else own
            for side, own in zip(self._sides, (first.height, first.width), strict=True)
        )
        mask = np.zeros((len(placed), height, width), self._dtype)
        for plane, each in zip(mask, placed, strict=True):
            left, top, right, bottom = each.target
            across, down = width / each.width, height / each.height
            plane[int(top * down) : ceil(bottom * down), int(left * across) : ceil(right * across)] = 1
        return mask
