"""The placement of a picture in the model's input, and the mapping of boxes back to the picture."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from manifest.version_manifest import ResizeMode
from runners.interpolate import Floats, bilinear


@dataclass(frozen=True, slots=True)
class Geometry:
    """The placement of one picture in the input.

    `source` is the used part of the picture, as x1, y1, x2, y2 in 0..1 of its sides, beyond 1 where it was
    padded before the resize; `target` is its area in the input, as left, top, right, bottom in whole pixels;
    the rest is padding. `picture` is the upright picture's own width and height in pixels.
    """

    source: tuple[float, float, float, float]
    target: tuple[int, int, int, int]
    width: int
    height: int
    picture: tuple[int, int]

    def inside(self, maps: Floats) -> Floats:
        """The part of maps [K, h, w] of the whole input that shows the picture, perhaps at another size."""
        left, top, right, bottom = self.target
        across, down = (max(1.0, beyond) for beyond in self.source[2:])
        right, bottom = left + round((right - left) / across), top + round((bottom - top) / down)
        if (right - left, bottom - top) == (self.width, self.height):
            return maps
        if maps.shape[1:] != (self.height, self.width):
            maps = bilinear(maps, self.height, self.width)
        return maps[:, top:bottom, left:right]

    def columns_at(self, pixels: NDArray[np.intp]) -> Floats:
        """Where the centres of the picture's columns with these numbers lie, in 0..1 of the input's width."""
        return self._at(pixels, 0, self.width)

    def rows_at(self, pixels: NDArray[np.intp]) -> Floats:
        """The same for rows."""
        return self._at(pixels, 1, self.height)

    def _at(self, pixels: NDArray[np.intp], axis: int, size: int) -> Floats:
        (low, high), (start, end) = self.source[axis::2], self.target[axis::2]
        shares = ((pixels + 0.5) / self.picture[axis] - low) / (high - low)
        places: Floats = (start + shares * (end - start)) / size
        return places

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


def place(
    mode: ResizeMode, picture: tuple[int, int], model: tuple[int, int], edge: int | None = None
) -> Geometry:
    """The placement of a picture of width and height `picture` in an input of width and height `model`.

    `edge` is the length of the shorter side: before the cut for `shortest_edge`, and for `keep_aspect` unless
    the longer one would not fit.
    """
    if mode == "centre_crop":
        return Geometry(_centre(picture, model), (0, 0, *model), *model, picture)
    if mode == "keep_aspect" and edge is not None:
        size = _limited(picture, model, edge)
        return Geometry((0.0, 0.0, 1.0, 1.0), (0, 0, *size), *size, picture)
    if edge is not None:
        return Geometry(_cut(picture, model, edge), (0, 0, *model), *model, picture)
    if mode == "square":
        side = max(picture)
        return Geometry((0, 0, side / picture[0], side / picture[1]), (0, 0, *model), *model, picture)
    whole = (0.0, 0.0, 1.0, 1.0)
    if mode == "stretch":
        return Geometry(whole, (0, 0, *model), *model, picture)
    width, height = _fitting(mode, picture, model)
    left, top = 0, 0
    if mode.endswith("_centre"):
        left, top = (model[0] - width) // 2, (model[1] - height) // 2
    return Geometry(whole, (left, top, left + width, top + height), *model, picture)


def _fitting(mode: ResizeMode, picture: tuple[int, int], model: tuple[int, int]) -> tuple[int, int]:
    """The picture's size in the input where its aspect ratio is kept, as each mode rounds it."""
    if mode == "longest_edge":
        return _rounded(picture, model)
    return _even(picture, model) if mode == "longest_edge_centre" else _inside(picture, model)


def _inside(picture: tuple[int, int], model: tuple[int, int]) -> tuple[int, int]:
    """The largest size with the picture's aspect ratio that fits into the input; at least one pixel."""
    ratio = min(model[0] / picture[0], model[1] / picture[1])
    return max(1, int(picture[0] * ratio)), max(1, int(picture[1] * ratio))


def _rounded(picture: tuple[int, int], model: tuple[int, int]) -> tuple[int, int]:
    """The same, each side rounded to the nearest pixel."""
    ratio = min(model[0] / picture[0], model[1] / picture[1])
    return max(1, int(picture[0] * ratio + 0.5)), max(1, int(picture[1] * ratio + 0.5))


def _even(picture: tuple[int, int], model: tuple[int, int]) -> tuple[int, int]:
    """The same, halves rounded to the even pixel: `LetterBox` of ultralytics, commit 002363f1."""
    ratio = min(model[0] / picture[0], model[1] / picture[1])
    return max(1, round(picture[0] * ratio)), max(1, round(picture[1] * ratio))


def _limited(picture: tuple[int, int], most: tuple[int, int], edge: int) -> tuple[int, int]:
    """The size whose shorter side is `edge`, or less where the longer one would exceed the longer of `most`.

    As `get_size_with_aspect_ratio` of huggingface/transformers 4.57 does it.
    """
    short, long = min(picture), max(picture)
    exact = min(float(edge), max(most) * short / long)
    least = round(exact)
    width, height = (least if side == short else max(1, int(exact * side / short)) for side in picture)
    return max(1, width), max(1, height)


def _cut(picture: tuple[int, int], model: tuple[int, int], edge: int) -> tuple[float, float, float, float]:
    """The centre of the picture whose shorter side has become `edge`; its longer one is cut to a whole pixel.

    As `CLIPImageProcessor` of huggingface/transformers 4.57 does it.
    """
    short = min(picture)
    width, height = (edge if side == short else int(edge * side / short) for side in picture)
    left, top = (width - model[0]) // 2, (height - model[1]) // 2
    return left / width, top / height, (left + model[0]) / width, (top + model[1]) / height


def _centre(picture: tuple[int, int], model: tuple[int, int]) -> tuple[float, float, float, float]:
    """The largest centred part of the picture with the input's aspect ratio."""
    ratio = max(model[0] / picture[0], model[1] / picture[1])
    across, down = model[0] / ratio / picture[0], model[1] / ratio / picture[1]
    x1, y1 = max(0.0, (1 - across) / 2), max(0.0, (1 - down) / 2)
    return x1, y1, 1 - x1, 1 - y1
