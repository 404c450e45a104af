"""The cells of detectors with one grid per stride."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from runners.interpolate import Floats


def cells_of(width: int, height: int, strides: Sequence[int]) -> tuple[Floats, Floats]:
    """Column and row [N, 2] of every cell, and the side [N] of its square in pixels of the input.

    The grids are in the order of `strides`, each row by row; the last square may exceed the input.
    """
    grids = [_cells(-(-width // stride), -(-height // stride)) for stride in strides]
    sides = [np.full(len(cells), stride, np.float32) for cells, stride in zip(grids, strides, strict=True)]
    return np.concatenate(grids), np.concatenate(sides)


def count_of(width: int, height: int, strides: Sequence[int]) -> int:
    """The number N of these cells."""
    return sum(-(-width // stride) * -(-height // stride) for stride in strides)


def _cells(columns: int, rows: int) -> Floats:
    down, across = np.divmod(np.arange(columns * rows), columns)
    return np.stack([across, down], axis=1).astype(np.float32)
