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
    downwards = np.ascontiguousarray(plane.T)  # its columns one after the other, as run lengths go
    above = downwards > 0
    both = _both_signs(above)
    # In a picture with fewer rows than the plane neighbours may lie in cells that do not touch.
    if height < len(plane) or both.mean() > _MANY:
        return mask_of(above_zero(plane, height, width))
    rows, columns = places_of(len(plane), height), places_of(plane.shape[1], width)
    changes = _changes(downwards, above, (rows, columns), _pixels(both, rows))
    return Mask(width, height, np.diff(changes, prepend=0, append=width * height).astype(np.int64))


def _both_signs(above: _Flags) -> _Flags:
    """The cells whose four corners differ; a cell is named by the corner of the lowest numbers."""
    beside = np.concatenate([above[1:], above[-1:]])
    some, every = above | beside, above & beside
    some[:, :-1], every[:, :-1] = some[:, :-1] | some[:, 1:], every[:, :-1] & every[:, 1:]
    both: _Flags = some & ~every
    return both


def _pixels(cells: _Flags, rows: Places) -> tuple[_Numbers, _Numbers]:
    """Column in the plane and row in the picture of all pixels in cells [w, h], and of those above and below.

    One column of cells after the other, each downwards.
    """
    height, (across, down) = len(rows[0]), cells.shape
    framed = np.zeros((across, down + 2), bool)
    framed[:, 1:-1] = cells
    turns = np.flatnonzero(framed[:, 1:] != framed[:, :-1])  # into cells and out of them, in turn
    firsts = np.searchsorted(rows[0], np.arange(down + 1))
    column, start, end = turns[::2] // (down + 1), turns[::2] % (down + 1), turns[1::2] % (down + 1)
    low, high = np.maximum(firsts[start] - 1, 0), np.minimum(firsts[end] + 1, height)
    counts = high - low
    before = np.cumsum(counts) - counts
    return np.repeat(column, counts), np.arange(counts.sum()) + np.repeat(low - before, counts)


def _changes(
    plane: Floats, above: _Flags, places: tuple[Places, Places], pixels: tuple[_Numbers, _Numbers]
) -> _Numbers:
    """The pixels, counted down the columns, that are on the other side than the one before.

    Before the first one is outside. Of all others than `pixels` the side is that of `above`. Of `plane` and
    `above` [w, h] the columns come first.
    """
    (rows, columns), (cell, row) = places, pixels
    height = len(rows[0])
    left, right = _beside(plane, cell, row, rows)
    # As `bilinear` does it: other arithmetic might round to the other side.
    right -= left
    same, head, foot = cell[1:] == cell[:-1], np.flatnonzero(row == 0), np.flatnonzero(row == height - 1)
    top, bottom = above[columns[0], 0], above[columns[0], -1]
    firsts, found = np.searchsorted(columns[0], np.arange(len(plane) + 1)), []
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
    flat, step = plane.ravel(), plane.shape[1]
    low, high, weight = rows[0].take(row), rows[1].take(row), rows[2].take(row)
    left, right = cell * step, np.minimum(cell + 1, len(plane) - 1) * step
    return _down(flat, left + low, left + high, weight), _down(flat, right + low, right + high, weight)


def _down(flat: Floats, above: _Numbers, below: _Numbers, weight: Floats) -> Floats:
    first, values = flat.take(above), flat.take(below)
    values -= first
    values *= weight
    values += first
    return values
