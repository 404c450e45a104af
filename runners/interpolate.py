"""Bilinear interpolation of arrays, as models' own post-processing does it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]
#: For each new place the two old ones that it lies between, and the share of the second.
Places = tuple[NDArray[np.intp], NDArray[np.intp], Floats]


#: Pixels of a band, whose values fit into a processor's cache.
_BAND = 65_536


def bilinear(array: Floats, height: int, width: int) -> Floats:
    """An array [K, h, w] as [K, height, width].

    Pixel centres lie at halves, nothing is smoothed and edges are repeated: `interpolate` of PyTorch with
    mode bilinear and align_corners false. Columns lie as those of `above_zero`.
    """
    rows, columns = places_of(array.shape[1], height), places_of(array.shape[2], width)
    found = np.empty((len(array), width, height), array.dtype)
    for plane, whole in zip(array, found, strict=True):
        _between(_between(plane, rows).T, columns, whole)
    return found.transpose(0, 2, 1)


def sampled(plane: Floats, rows: Floats, columns: Floats) -> Floats:
    """A plane [h, w], interpolated by `bilinear`, at rows and columns given in 0..1 of its sides."""
    down, across = _around(plane.shape[0], rows), _around(plane.shape[1], columns)
    return _between(_between(plane, down).T, across).T


def above_zero(plane: Floats, height: int, width: int) -> NDArray[np.bool_]:
    """Where a plane [h, w], interpolated by `bilinear`, is above zero, as [height, width].

    Its columns lie one after the other in memory, as run lengths go.
    """
    low, high, weight = places_of(plane.shape[1], width)
    rows = places_of(plane.shape[0], height)
    inside = np.zeros((width, height), bool)
    step = max(1, _BAND // height)
    for start in range(0, width, step):
        band = slice(start, start + step)
        first, last = low[band][0], high[band][-1] + 1
        part = plane[:, first:last]
        if part.max() <= 0:
            continue  # no interpolated value is beyond those beside it
        columns = low[band] - first, high[band] - first, weight[band]
        np.greater(_between(_between(part, rows).T, columns), 0, out=inside[band])
    return inside.T


def greatest(array: Floats, height: int, width: int) -> NDArray[np.uint16]:
    """Which of K maps [K, h, w], interpolated by `bilinear`, is greatest at each place, as [height, width].

    Of equal ones the first; columns lie as those of `above_zero`. Bands of columns are done one after the
    other, without the maps that are surpassed everywhere in them.
    """
    low, high, weight = places_of(array.shape[2], width)
    rows = places_of(array.shape[1], height)
    best = np.zeros((width, height), np.uint16)
    step = max(1, _BAND // height)
    for start in range(0, width, step):
        band = slice(start, start + step)
        first, last = low[band][0], high[band][-1] + 1
        columns = low[band] - first, high[band] - first, weight[band]
        _greatest(array[:, :, first:last], rows, columns, best[band])
    return best.T


def _greatest(array: Floats, rows: Places, columns: Places, best: NDArray[np.uint16]) -> None:
    """Write the greatest of all maps for the columns of a band into `best` [columns, rows]."""
    top = np.full(best.shape, -np.inf, np.float32)
    for place in _possible(array):
        values = _between(_between(array[place], rows).T, columns)
        greater = values > top
        np.copyto(top, values, where=greater)
        np.copyto(best, place, where=greater)


def _between(plane: Floats, places: Places, values: Floats | None = None) -> Floats:
    """The rows of a plane at some places, in `values` where it is given."""
    low, high, weight = places
    plane = np.ascontiguousarray(plane)
    below = plane.take(low, axis=0)
    values = plane.take(high, axis=0, out=values, mode="clip")
    values -= below
    values *= weight[:, None]
    values += below
    return values


def _possible(band: Floats) -> list[int]:
    """The maps of a band that may be greatest somewhere: no interpolated value is beyond those beside it."""
    highest = band.max(axis=(1, 2))
    surpassed: Floats = band.min(axis=(1, 2)).max()
    possible: list[int] = np.flatnonzero(highest >= surpassed).tolist()
    return possible


def places_of(size: int, wanted: int) -> Places:
    """The places of `wanted` values in `size` old ones."""
    return _around(size, (np.arange(wanted) + 0.5) / wanted)


def _around(size: int, places: Floats) -> Places:
    """The same for places in 0..1 of the side."""
    at = np.clip(places * size - 0.5, 0, size - 1).astype(np.float32)
    low = np.floor(at).astype(np.intp)
    return low, np.minimum(low + 1, size - 1), at - low
