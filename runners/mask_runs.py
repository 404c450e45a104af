"""Masks as run lengths, and the boxes round them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hotswap.predictions import Box, Mask


def mask_of(inside: NDArray[np.bool_]) -> Mask:
    """The mask of an array [height, width] that says which pixels are inside."""
    height, width = inside.shape
    flat = inside.ravel(order="F")  # COCO's runs go down the columns
    changes = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    starts = [0] if flat[0] else []
    ends = np.concatenate([np.array(starts, np.int64), changes, [flat.size]])
    return Mask(width, height, np.diff(ends, prepend=0).astype(np.int64))


def part_mask(inside: NDArray[np.bool_], corner: tuple[int, int], size: tuple[int, int]) -> Mask:
    """The mask of a picture of width and height `size` whose pixels lie in a part of it.

    The left upper pixel of the part `inside` [h, w] is column and row `corner` of the picture.
    """
    (left, top), (width, height) = corner, size
    framed = np.pad(inside.T, ((0, 0), (1, 1)))
    columns, rows = np.nonzero(framed[:, 1:] != framed[:, :-1])
    places, times = np.unique((left + columns) * height + top + rows, return_counts=True)
    # A run that ends below one column goes on above the next.
    changes = places[(times == 1) & (places < width * height)]
    ends = np.append(changes, width * height)
    return Mask(width, height, np.diff(ends, prepend=0).astype(np.int64))


def box_of(inside: NDArray[np.bool_]) -> Box | None:
    """The smallest box round the pixels inside, in 0..1 of the picture; None without any."""
    rows, columns = np.flatnonzero(inside.any(axis=1)).tolist(), np.flatnonzero(inside.any(axis=0)).tolist()
    if not rows:
        return None
    height, width = inside.shape
    return columns[0] / width, rows[0] / height, (columns[-1] + 1) / width, (rows[-1] + 1) / height


def box_of_mask(mask: Mask) -> Box | None:
    """The same, of a mask."""
    ends = np.cumsum(mask.counts)
    first, last = ends[:-1:2], ends[1::2] - 1
    first, last = first[first <= last], last[first <= last]
    if not first.size:
        return None
    width, height = mask.width, mask.height
    around = first // height != last // height  # from the foot of one column to the head of the next
    top = np.where(around, 0, first % height).min()
    bottom = np.where(around, height - 1, last % height).max() + 1
    left, right = first[0] // height, last[-1] // height + 1
    return float(left / width), float(top / height), float(right / width), float(bottom / height)
