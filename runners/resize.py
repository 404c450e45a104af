"""How pixels are resized: by Pillow on bytes, or as OWLv2's processor does it, in floats.

OWLv2's pictures are padded to a square, smoothed by a gaussian, then sampled linearly.
`Owlv2ImageProcessor` of huggingface/transformers 4.57 does it with scipy, as scikit-image's `resize` does:
the deviation is (factor - 1) / 2, cut at 4 deviations; pixel centres lie at halves; borders are mirrored
about the centre of the last pixel. Both steps are one weighted sum along each axis.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from runners.geometry import Geometry

_KERNELS = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
    "box": Image.Resampling.BOX,
}
#: Deviations of the gaussian after which it is cut.
_CUT = 4.0


def on_bytes(image: Image.Image, geometry: Geometry, kernel: str) -> NDArray[np.uint8]:
    """The used part of a picture at its size in the input, [height, width, 3], antialiased."""
    left, top, right, bottom = geometry.target
    x1, y1, x2, y2 = geometry.source
    box = (x1 * image.width, y1 * image.height, x2 * image.width, y2 * image.height)
    return np.asarray(image.resize((right - left, bottom - top), _KERNELS[kernel], box))


def smooth_square(pixels: NDArray[np.uint8], width: int, height: int, pad: float) -> NDArray[np.float32]:
    """Pixels [h, w, 3], padded right and below with `pad` to a square, as [height, width, 3] in 0..255."""
    side = max(pixels.shape[:2])
    rows = _summed(pixels, side, height, pad)
    return _summed(rows.transpose(1, 0, 2), side, width, pad).transpose(1, 0, 2)


def _summed(array: NDArray[Any], side: int, wanted: int, pad: float) -> NDArray[np.float32]:
    """The first axis, padded to `side`, as `wanted` values."""
    places, weights = _taps(side, wanted)
    weights[places >= len(array)] = 0
    places = np.minimum(places, len(array) - 1)
    out = np.empty((wanted, *array.shape[1:]), np.float32)
    out[...] = (pad * (1 - weights.sum(axis=1)))[:, None, None]
    for place, weight in zip(places.T, weights.T.astype(np.float32), strict=True):
        out += weight[:, None, None] * array[place]
    return out


def _taps(side: int, wanted: int) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Places and weights [wanted, T] of the old values that each new one is a sum of."""
    factor = side / wanted
    deviation = max(0.0, (factor - 1) / 2)
    radius = int(_CUT * deviation + 0.5)
    around = np.arange(-radius, radius + 1)
    bell = np.exp(-0.5 * (around / (deviation or 1)) ** 2)
    bell /= bell.sum()
    at = (np.arange(wanted) + 0.5) * factor - 0.5
    low = np.floor(at)
    share = (at - low)[:, None]
    weights = (1 - share) * np.append(bell, 0) + share * np.append(0, bell)
    places = low.astype(np.intp)[:, None] + np.arange(-radius, radius + 2)
    return _mirrored(places, side), weights


def _mirrored(places: NDArray[np.intp], side: int) -> NDArray[np.intp]:
    period = max(1, 2 * (side - 1))
    within = np.abs(places) % period
    mirrored: NDArray[np.intp] = np.minimum(within, period - within)
    return mirrored
