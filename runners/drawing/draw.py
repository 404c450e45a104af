"""The annotated picture: the detections drawn on it, encoded as a file.

The picture is the upright original at its full size, composited on white where it is transparent. Of
its metadata only the colour profile is kept, so that no location or owner is passed on.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from io import BytesIO
from typing import Any, NamedTuple

from PIL import Image, ImageDraw

from hotswap import lifecycle
from hotswap.errors import PictureTooLarge
from hotswap.predictions import Box, Detection, Picture, Prediction
from runners.decode import decode
from runners.drawing import text
from runners.drawing.labels import Area, Labels, Sizes, Tag, nothing, panel
from runners.drawing.palette import Colour, colour_of, text_on

#: A model input so large that a JPEG is never decoded at a smaller scale.
_FULL = (1 << 30, 1 << 30)
#: More labels than this are unreadable on any picture.
_MOST_LABELS = 200
_LONGEST_PROFILE = 1_000_000
#: Pixels from which memory is returned to the system afterwards; the heap would keep 4 bytes for each.
_BIG = 8_000_000


class _Format(NamedTuple):
    kind: str
    longest_side: int
    options: Mapping[str, Any]


# The sides are the formats' limits. Options favour speed: a big PNG or WebP takes seconds otherwise.
_FORMATS = {
    "image/jpeg": _Format("JPEG", 65_500, {"quality": 90, "subsampling": "4:4:4"}),
    "image/png": _Format("PNG", 1_000_000, {"compress_level": 1}),
    "image/webp": _Format("WEBP", 16_383, {"quality": 85, "method": 1}),
}
#: The formats of annotated pictures, the default first.
MEDIA_TYPES = tuple(_FORMATS)


class Drawn(NamedTuple):
    """A picture as a file."""

    media_type: str
    data: bytes


def annotated(picture: Picture, prediction: Prediction, media_types: Sequence[str], max_pixels: int) -> Drawn:
    """Draw boxes and labels; write the first of `media_types` that can hold a picture of this size.

    Raises `PictureTooLarge` when none can, and what `decode` raises.
    """
    try:
        return _drawn(decode(picture, _FULL, max_pixels).image, prediction, media_types)
    except MemoryError:
        raise PictureTooLarge("the annotated picture does not fit in memory") from None
    finally:
        if prediction.width * prediction.height >= _BIG:
            lifecycle.trim_memory()


def _drawn(image: Image.Image, prediction: Prediction, media_types: Sequence[str]) -> Drawn:
    media_type = _fitting(media_types, image)
    profile = _profile(image)
    mark(image, prediction)
    return Drawn(media_type, _encoded(image, media_type, profile))


def _fitting(media_types: Sequence[str], image: Image.Image) -> str:
    for media_type in media_types:
        if max(image.size) <= _FORMATS[media_type].longest_side:
            return media_type
    longest = max(_FORMATS[media_type].longest_side for media_type in media_types)
    raise PictureTooLarge(
        f"the picture has {image.width}x{image.height} pixels; {' or '.join(media_types)} allows at most "
        f"{longest} per side: accept another format"
    )


def _profile(image: Image.Image) -> bytes | None:
    """The colour profile, if it is valid for RGB pixels."""
    profile = image.info.get("icc_profile")
    valid = isinstance(profile, bytes) and profile[16:20] == b"RGB " and len(profile) <= _LONGEST_PROFILE
    return profile if valid else None


def _encoded(image: Image.Image, media_type: str, profile: bytes | None) -> bytes:
    kind, _, options = _FORMATS[media_type]
    file = BytesIO()
    image.info = {}  # Pillow's writers would copy comments and transparency from it
    image.save(file, kind, icc_profile=profile, **options)
    return file.getvalue()


# --- marks ---------------------------------------------------------------------------------------


def mark(image: Image.Image, prediction: Prediction) -> None:
    """Draw on an RGB picture: boxes with their labels, the best on top; labels of the whole picture as
    rows in a corner. Without detections a remark is drawn there."""
    sizes = Sizes.of(*image.size)
    detections = prediction.detections
    boxed = [(item, pixels(item.bbox, sizes)) for item in detections if item.bbox is not None]
    canvas = ImageDraw.Draw(image)
    for detection, area in reversed(boxed):
        _frame(canvas, area, colour_of(detection.label), sizes)
    if sizes.text:
        for tag in _tags(prediction, boxed, sizes):
            _write(canvas, tag, sizes)


def pixels(box: Box, sizes: Sizes) -> Area:
    """A box of 0..1 as an area inside the picture, clipped to it, of at least one pixel each way."""
    left, right = _span(box[0], box[2], sizes.width)
    top, bottom = _span(box[1], box[3], sizes.height)
    return left, top, right, bottom


def _span(low: float, high: float, length: int) -> tuple[int, int]:
    first = min(_place(low, length), length - 1)
    return first, max(_place(high, length), first + 1)


def _place(share: float, length: int) -> int:
    return 0 if math.isnan(share) else round(min(max(share, 0.0), 1.0) * length)


def _frame(canvas: ImageDraw.ImageDraw, area: Area, colour: Colour, sizes: Sizes) -> None:
    """Draw a frame inside the area, thinner in small areas. A thick frame has a thin black or white line
    at its inner side for contrast with a background of its own colour."""
    left, top, right, bottom = area
    line = max(1, min(sizes.line, min(right - left, bottom - top) // 6))
    hair = line // 4
    inner = (left + line, top + line, right - 1 - line, bottom - 1 - line)
    canvas.rectangle((left, top, right - 1, bottom - 1), outline=colour, width=line)
    if hair:
        canvas.rectangle(inner, outline=text_on(colour), width=hair)


def _tags(prediction: Prediction, boxed: Sequence[tuple[Detection, Area]], sizes: Sizes) -> list[Tag]:
    if not prediction.detections:
        return [] if _is_other(prediction) else [nothing(sizes)]
    whole = [detection for detection in prediction.detections if detection.bbox is None]
    rows = panel(whole, sizes) if whole else []
    labels = Labels(sizes, rows)
    tags = (labels.beside(detection, area) for detection, area in boxed[:_MOST_LABELS])
    return [*rows, *(tag for tag in tags if tag is not None)]


def _is_other(prediction: Prediction) -> bool:
    """Whether the prediction is of another kind than detections, which is not drawn."""
    return prediction.embedding is not None or prediction.tensors is not None


def _write(canvas: ImageDraw.ImageDraw, tag: Tag, sizes: Sizes) -> None:
    left, top, right, bottom = tag.area
    canvas.rectangle((left, top, right - 1, bottom - 1), fill=tag.colour)
    font, colour = text.font(sizes.text), text_on(tag.colour)
    baseline = top + sizes.pad + text.heights(sizes.text)[0]
    canvas.text((left + sizes.pad, baseline), tag.text, colour, font, anchor="ls")
    canvas.text((right - sizes.pad, baseline), tag.score, colour, font, anchor="rs")
