"""The placement of a picture in the model's input, and the mapping of boxes back to the picture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Mode = Literal["stretch", "letterbox", "letterbox_centre", "centre_crop"]
Floats = NDArray[np.floating[Any]]


@dataclass(frozen=True, slots=True)
class Geometry:
    """The placement of one picture in the input.

    `source` is the used part of the picture, as x1, y1, x2, y2 in 0..1 of its sides; `target` is its
    area in the input, as left, top, right, bottom in whole pixels; the rest is padding.
    """

    source: tuple[float, float, float, float]
    target: tuple[int, int, int, int]
    width: int
    height: int

    def restore(self, boxes: Floats) -> Floats:
        """Map boxes [K, 4] from 0..1 of the input to 0..1 of the upright picture, clipped to it."""
        left, top, right, bottom = self.target
        size = np.array([self.width, self.height] * 2, dtype=np.float64)
        start = np.array([left, top] * 2, dtype=np.float64)
        extent = np.array([right - left, bottom - top] * 2, dtype=np.float64)
        x1, y1, x2, y2 = self.source
        span = np.array([x2 - x1, y2 - y1] * 2, dtype=np.float64)
        origin = np.array([x1, y1] * 2, dtype=np.float64)
        restored: Floats = (boxes * size - start) / extent * span + origin
        return restored.clip(0.0, 1.0, out=restored)


def place(mode: Mode, picture: tuple[int, int], model: tuple[int, int]) -> Geometry:
    """The placement of a picture of width and height `picture` in an input of width and height `model`."""
    if mode == "centre_crop":
        return Geometry(_centre(picture, model), (0, 0, *model), *model)
    whole = (0.0, 0.0, 1.0, 1.0)
    if mode == "stretch":
        return Geometry(whole, (0, 0, *model), *model)
    width, height = _inside(picture, model)
    left, top = 0, 0
    if mode == "letterbox_centre":
        left, top = (model[0] - width) // 2, (model[1] - height) // 2
    return Geometry(whole, (left, top, left + width, top + height), *model)


def _inside(picture: tuple[int, int], model: tuple[int, int]) -> tuple[int, int]:
    """The largest size with the picture's aspect ratio that fits into the input; at least one pixel."""
    ratio = min(model[0] / picture[0], model[1] / picture[1])
    return max(1, int(picture[0] * ratio)), max(1, int(picture[1] * ratio))


def _centre(picture: tuple[int, int], model: tuple[int, int]) -> tuple[float, float, float, float]:
    """The largest centred part of the picture with the input's aspect ratio."""
    ratio = max(model[0] / picture[0], model[1] / picture[1])
    across, down = model[0] / ratio / picture[0], model[1] / ratio / picture[1]
    x1, y1 = max(0.0, (1 - across) / 2), max(0.0, (1 - down) / 2)
    return x1, y1, 1 - x1, 1 - y1
