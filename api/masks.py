"""Masks on the wires: COCO's run lengths as a text, or a PNG."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from api.options import MaskFormat
from hotswap.predictions import Mask


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
    text = bytearray()
    for value in values.tolist():
        text.extend(_written(value))
    return text.decode("ascii")


def _written(value: int) -> Iterator[int]:
    more = True
    while more:
        low = value & 0x1F
        value >>= 5
        more = value != (-1 if low & 0x10 else 0)
        yield (low | (0x20 if more else 0)) + 48


def png(mask: Mask) -> bytes:
    """The mask as a PNG of one bit a pixel, white inside."""
    out = BytesIO()
    Image.fromarray(mask.pixels()).save(out, "PNG", bits=1)
    return out.getvalue()
