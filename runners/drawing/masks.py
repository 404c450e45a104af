"""Masks on pictures: half transparent, with an outline, in the colour of their label."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from hotswap.predictions import Mask
from runners.drawing.labels import Area
from runners.drawing.palette import Colour

#: Opacity of a mask's inside, of 255.
_HALF = 128


def lay(image: Image.Image, mask: Mask, colour: Colour, line: int) -> None:
    """Lay a mask on an RGB picture of its size; the outline of `line` pixels is inside it and opaque.

    A mask that is thinner than six lines has a thinner outline, so that it does not hide what it shows.
    """
    cut = cut_out(mask, line)
    if cut is None:
        return
    area, inside = cut
    image.paste(colour, area, Image.fromarray(_opacity(inside, line)))


def cut_out(mask: Mask, margin: int) -> tuple[Area, NDArray[np.bool_]] | None:
    """The pixels inside a mask and `margin` pixels round them, with their place; None for an empty mask.

    Only these columns are expanded: a picture may have many small masks.
    """
    columns = _columns(mask, margin)
    if columns is None:
        return None
    left, right, narrow = columns
    rows = np.flatnonzero(narrow.any(axis=1))
    top, bottom = max(0, int(rows[0]) - margin), min(mask.height, int(rows[-1]) + 1 + margin)
    return (left, top, right, bottom), narrow[top:bottom]


def _columns(mask: Mask, margin: int) -> tuple[int, int, NDArray[np.bool_]] | None:
    """The columns from the first to the last with pixels inside, and `margin` more on both sides."""
    if mask.area == 0:
        return None
    counts = mask.counts.copy()
    after = int(counts[-1]) if len(counts) % 2 else 0
    left = max(0, int(counts[0]) // mask.height - margin)
    right = min(mask.width, mask.width - after // mask.height + margin)
    counts[0] -= left * mask.height
    if after:
        counts[-1] -= (mask.width - right) * mask.height
    return left, right, Mask(right - left, mask.height, counts).pixels()


def _opacity(inside: NDArray[np.bool_], line: int) -> NDArray[np.uint8]:
    """The opacity of each pixel [h, w]. The mean of a square is 255 where all of it lies inside; beyond the
    array the filter repeats its edge, so that the picture's own edge is no outline."""
    line = max(1, min(line, min(inside.shape) // 6))
    full = inside.astype(np.uint8) * 255
    core = np.asarray(Image.fromarray(full).filter(ImageFilter.BoxBlur(line))) == 255
    full[core] = _HALF
    return full
