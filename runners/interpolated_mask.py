"""The mask of a small plane at the size of a large picture, from the places where its sign changes.

Where the four values round a pixel have one sign, the interpolated one has it, too: in floats as in numbers,
since a weight is never so near to 1 that rounding would reach 0. Only the other pixels are computed.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hotswap.predictions import Mask
from runners.interpolate import Floats, Places, above_zero, places_of
from runners.mask_runs import mask_of

_Flags = NDArray[np.bool_]
_Numbers = NDArray[np.intp]
#: Share of cells with both signs from which it is as quick to compute all pixels.
_MANY = 0.1


def mask_above_zero(plane: Floats, height: int, width: int) -> Mask:
    """The pixels [height, width] at which a plane [h, w], interpolated by `bilinear`, is above zero.

    The same to the bit as `mask_of` makes of all interpolated values.
    """
    above = plane > 0
    both = _both_signs(above)
    # In a picture with fewer rows than the plane neighbours may lie in cells that do not touch.
    if height < len(plane) or both.mean() > _MANY:
        return mask_of(above_zero(plane, height, width))
    rows, columns = places_of(len(plane), height), places_of(plane.shape[1], width)
    changes = _changes(plane, above, (rows, columns), _pixels(both, rows))
    return Mask(width, height, np.diff(changes, prepend=0, append=width * height).astype(np.int64))


def _both_signs(above: _Flags) -> _Flags:
    """The cells whose four corners differ; a cell is named by its left upper corner."""
    below = np.concatenate([above[1:], above[-1:]])
    some, every = above | below, above & below
    some[:, :-1], every[:, :-1] = some[:, :-1] | some[:, 1:], every[:, :-1] & every[:, 1:]
    both: _Flags = some & ~every
    return both


def _pixels(cells: _Flags, rows: Places) -> tuple[_Numbers, _Numbers]:
    """Column in the plane and row in the picture of all pixels in cells, and of the ones above and below.

    One column of cells after the other, each downwards.
    """
    height, steps = len(rows[0]), np.diff(np.pad(cells, ((1, 1), (0, 0))).T.view(np.int8))
    firsts = np.searchsorted(rows[0], np.arange(len(cells) + 1))
    (across, start), (_, end) = np.nonzero(steps > 0), np.nonzero(steps < 0)
    low, high = np.maximum(firsts[start] - 1, 0), np.minimum(firsts[end] + 1, height)
    counts = high - low
    before = np.cumsum(counts) - counts
    return np.repeat(across, counts), np.arange(counts.sum()) + np.repeat(low - before, counts)


def _changes(
    plane: Floats, above: _Flags, places: tuple[Places, Places], pixels: tuple[_Numbers, _Numbers]
) -> _Numbers:
    """The pixels, counted down the columns, that are on the other side than the one before.

    Before the first one is outside. Of all others than `pixels` the side is that of `above`.
    """
    (rows, columns), (cell, row) = places, pixels
    height = len(rows[0])
    left, right = _beside(plane, cell, row, rows)
    # As `bilinear` does it: other arithmetic might round to the other side.
    right -= left
    same, head, foot = cell[1:] == cell[:-1], np.flatnonzero(row == 0), np.flatnonzero(row == height - 1)
    top, bottom = above[0, columns[0]], above[-1, columns[0]]
    firsts, found = np.searchsorted(columns[0], np.arange(plane.shape[1] + 1)), []
    across, end = firsts[cell], firsts[cell + 1]
    for _ in range(int(np.diff(firsts).max())):
        values = right * columns[2].take(across, mode="clip")
        values += left
        inside = values > 0
        for side, ends in ((top, head), (bottom, foot)):
            known = ends[across[ends] < end[ends]]
            side[across[known]] = inside[known]
        turns = np.flatnonzero((inside[1:] != inside[:-1]) & same) + 1
        turns = turns[across[turns] < end[turns]]
        found.append(across[turns] * height + row[turns])
        across += 1
    tops = np.flatnonzero(top != np.concatenate([[False], bottom[:-1]]))
    return np.sort(np.concatenate([*found, tops * height]))


def _beside(plane: Floats, cell: _Numbers, row: _Numbers, rows: Places) -> tuple[Floats, Floats]:
    """Values at rows of the picture, in the column of each cell and in the one right of it."""
    flat, step = np.pad(plane, ((0, 1), (0, 1)), mode="edge").ravel(), plane.shape[1] + 1
    corner, weight = rows[0].take(row) * step + cell, rows[2].take(row)
    left, right = _down(flat, corner, step, weight), _down(flat, corner + 1, step, weight)
    return left, right


def _down(flat: Floats, corner: _Numbers, step: int, weight: Floats) -> Floats:
    low, values = flat.take(corner), flat.take(corner + step)
    values -= low
    values *= weight
    values += low
    return values
