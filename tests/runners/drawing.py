"""Pictures of one colour, what was found on them, and what drawing it has changed."""

from __future__ import annotations

from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hotswap.predictions import Box, Detection, Options, Picture, Prediction
from runners.drawing.draw import Drawn, annotated
from tests.runners.pictures import NO_LIMIT, encode

PAPER = (120, 120, 120)
# Sizes at which a picture is tiny, odd, usual, and as a telephone makes it.
SIZES = [(1, 1), (3, 200), (64, 48), (640, 480), (4000, 3000)]


def found(label: str, box: Box | None, score: float = 0.9, label_id: int = 0) -> Detection:
    """One thing found; without a box it is the whole picture."""
    return Detection(label, label_id, score, box)


def draw(data: bytes, *detections: Detection, media_type: str = "image/png") -> NDArray[np.uint8]:
    """The pixels [height, width, 3] of the picture with what was found."""
    return opened(drawn(data, *detections, media_type=media_type))


def drawn(data: bytes, *detections: Detection, media_type: str = "image/png") -> Drawn:
    """The file with what was found drawn on it."""
    return annotated(
        Picture(encoded=data), Prediction(detections, "v1", 1, 1), Options(), [media_type], NO_LIMIT
    )


def opened(file: Drawn) -> NDArray[np.uint8]:
    """The pixels [height, width, 3] of a file that is what it says."""
    image = Image.open(BytesIO(file.data))
    assert (image.get_format_mimetype(), image.mode) == (file.media_type, "RGB")
    return np.asarray(image)


def paper(width: int, height: int, kind: str = "PNG") -> bytes:
    """A picture of one colour."""
    return encode(Image.new("RGB", (width, height), PAPER), kind)


def changed(after: NDArray[np.uint8], before: tuple[int, int, int] = PAPER) -> NDArray[np.bool_]:
    """Which pixels [height, width] are no longer what they were."""
    return (after != np.array(before, np.uint8)).any(axis=2)
