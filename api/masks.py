"""Masks on the wires: COCO's run lengths as a text, or a PNG."""

from __future__ import annotations

import base64
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from api.options import MaskFormat
from hotswap.predictions import Mask

#: Groups of five bits in the longest run: of all pixels of a picture, and a sign.
_GROUPS = 13


def mask_body(mask: Mask, mask_format: MaskFormat) -> dict[str, Any]:
    """The mask as JSON: `{"size": [height, width], "counts": text}`, or `{"size": …, "png": base64}`."""
    size = [mask.height, mask.width]
    if mask_format == "png":
        return {"size": size, "png": base64.b64encode(png(mask)).decode()}
    return {"size": size, "counts": coco_counts(mask.counts)}


def coco_counts(counts: NDArray[np.int64]) -> str:
    """Run lengths as a text, as `pycocotools.mask` reads it.

    From the fourth on, a length is written as its difference to the one two places before; each value in
    groups of five bits, the lowest first, with a sixth bit that says whether more follow, as characters from
    "0" on: `rleToString` of cocodataset/cocoapi, common/maskApi.c.
    """
    values = counts.astype(np.int64)
    values[3:] -= counts[1:-2]
    characters = np.zeros((len(values), _GROUPS), np.uint8)  # 0: the value has ended
    going_on = np.ones(len(values), bool)
    for group in range(_GROUPS):
        low = values & 0x1F
        values >>= 5
        more = values != np.where(low & 0x10, -1, 0)
        characters[going_on, group] = (low + np.where(more, 0x20, 0) + 48)[going_on]
        going_on &= more
        if not going_on.any():
            break
    return characters[characters > 0].tobytes().decode("ascii")


def png(mask: Mask) -> bytes:
    """The mask as a PNG of one bit a pixel, white inside."""
    out = BytesIO()
    Image.fromarray(mask.pixels()).save(out, "PNG", bits=1)
    return out.getvalue()
