"""Turns decoded pictures into the input tensor that the config declares."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from manifest.version_manifest import InputConfig
from runners.decode import Decoded
from runners.geometry import Geometry, place
from runners.resize import on_bytes, smooth_square

# Enough for the requests of one moment; more would only hold memory.
_KEPT_TENSORS = 16


class Preprocessor:
    """Makes input tensors of one model; may be used from several threads at once.

    The values are `(pixel * scale - mean) / std`, computed as one multiplication and one addition.
    """

    def __init__(self, config: InputConfig) -> None:
        self._config = config
        self._factor, self._offset = _linear(config)
        self._plain = not self._offset.any()
        self._spare: deque[NDArray[Any]] = deque(maxlen=_KEPT_TENSORS)

    @property
    def resized(self) -> tuple[int, int]:
        """The least width and height that pictures are resized to, before any cut."""
        edge = self._config.resize.edge
        return (edge, edge) if edge is not None else (self._config.width, self._config.height)

    def make(self, pictures: Sequence[Decoded]) -> tuple[NDArray[Any], list[Geometry]]:
        """The tensor of these pictures, one alone with layout HWC, and the geometry of each in it."""
        placed = [self._place(picture) for picture in pictures]
        if self._config.layout == "HWC":
            return self._alone(pictures[0], placed[0]), placed
        width, height = max(each.width for each in placed), max(each.height for each in placed)
        placed = [replace(each, width=width, height=height) for each in placed]
        tensor = self._take(len(pictures), width, height)
        for each, picture, geometry in zip(tensor, pictures, placed, strict=True):
            self._fill(each, picture, geometry)
        return tensor, placed

    def give_back(self, tensor: NDArray[Any]) -> None:
        """Return an unused tensor for reuse.

        Allocating fresh pages for every picture would cost more than the arithmetic.
        """
        if len(tensor) == 1:
            self._spare.append(tensor)

    def _alone(self, picture: Decoded, geometry: Geometry) -> NDArray[Any]:
        """The tensor [height, width, 3] of the resized picture, nothing round it."""
        left, top, right, bottom = geometry.target
        tensor = np.empty((bottom - top, right - left, 3), self._config.dtype)
        self._scale(self._resize(picture.image, geometry), tensor.transpose(2, 0, 1))
        return tensor

    def _take(self, count: int, width: int, height: int) -> NDArray[Any]:
        shape = (count, 3, height, width) if self._config.layout == "NCHW" else (count, height, width, 3)
        if count == 1:
            with suppress(IndexError):
                spare = self._spare.pop()
                if spare.shape == shape:
                    return spare
        return np.empty(shape, dtype=self._config.dtype)

    def _place(self, picture: Decoded) -> Geometry:
        config = self._config
        model = (config.width, config.height)
        return place(config.resize.mode, (picture.width, picture.height), model, config.resize.edge)

    def _fill(self, tensor: NDArray[Any], picture: Decoded, geometry: Geometry) -> None:
        channels = tensor if self._config.layout == "NCHW" else tensor.transpose(2, 0, 1)
        left, top, right, bottom = geometry.target
        if (right - left, bottom - top) != (geometry.width, geometry.height):
            channels[...] = self._pad()
        self._scale(self._resize(picture.image, geometry), channels[:, top:bottom, left:right])

    def _resize(self, image: Image.Image, geometry: Geometry) -> NDArray[Any]:
        """The used part at its size in the input, as a view [3, height, width] in the model's order."""
        config = self._config
        if config.resize.kernel == "gaussian_linear":
            small: NDArray[Any] = smooth_square(
                np.asarray(image), config.width, config.height, float(config.pad)
            )
        else:
            small = on_bytes(image, geometry, config.resize.kernel)
        channels = small.transpose(2, 0, 1)
        return channels[::-1] if config.colour_order == "BGR" else channels

    def _scale(self, pixels: NDArray[Any], out: NDArray[Any]) -> None:
        if self._config.dtype == "uint8":
            np.copyto(out, pixels)
            return
        np.multiply(pixels, self._factor, out=out, dtype=np.float32)
        if not self._plain:
            np.add(out, self._offset, out=out)

    def _pad(self) -> NDArray[Any]:
        pad = self._config.pad
        if pad == "zero":
            return np.zeros((3, 1, 1), self._config.dtype)
        if self._config.dtype == "uint8":
            return np.full((3, 1, 1), pad, dtype=np.uint8)
        return pad * self._factor + self._offset


def _linear(config: InputConfig) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Factor and offset [3, 1, 1] with `pixel * factor + offset == (pixel * scale - mean) / std`."""
    mean = np.array(config.mean or [0.0] * 3)
    std = np.array(config.std or [1.0] * 3)
    factor, offset = config.scale / std, -mean / std
    return (
        factor.astype(np.float32).reshape(3, 1, 1),
        offset.astype(np.float32).reshape(3, 1, 1),
    )
