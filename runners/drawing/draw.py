"""The annotated picture: the detections and the prompt drawn on it, encoded as a file.

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
from hotswap.predictions import Box, Detection, Options, Picture, Point, Prediction
from runners.decode import decode
from runners.drawing import masks, text
from runners.drawing.labels import Area, Labels, Sizes, Tag, nothing, panel
from runners.drawing.palette import BLACK, WHITE, Colour, colour_of, text_on

#: A model input so large that a JPEG is never decoded at a smaller scale.
_FULL = (1 << 30, 1 << 30)
#: More labels than this are unreadable on any picture.
_MOST_LABELS = 200
_LONGEST_PROFILE = 1_000_000
#: The task whose masks are one map of classes.
_MAP = "semantic-segmentation"
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


def annotated(
    picture: Picture,
    prediction: Prediction,
    options: Options,
    media_types: Sequence[str],
    max_pixels: int,
) -> Drawn:
    """Draw what was found and where it was asked; write the first of `media_types` that can hold a picture
    of this size.

    Raises `PictureTooLarge` when none can, and what `decode` raises.
    """
    try:
        image = decode(picture, _FULL, max_pixels).image
        return _drawn(image, prediction, options, media_types)
    except MemoryError:
        raise PictureTooLarge("the annotated picture does not fit in memory") from None
    finally:
        if prediction.width * prediction.height >= _BIG:
            lifecycle.trim_memory()


def _drawn(image: Image.Image, prediction: Prediction, options: Options, media_types: Sequence[str]) -> Drawn:
    media_type = _fitting(media_types, image)
    profile = _profile(image)
    mark(image, prediction, options)
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


def mark(image: Image.Image, prediction: Prediction, options: Options) -> None:
    """Draw on an RGB picture: masks, boxes and their labels, the best on top; labels of the whole picture,
    and those of a map of classes, as rows in a corner; the points and boxes of the prompt. Without
    detections a remark is drawn in the corner."""
    sizes = Sizes.of(*image.size)
    is_map = prediction.task == _MAP
    _lay_masks(image, prediction.detections, max(1, sizes.line // 2) if is_map else sizes.line)
    canvas = ImageDraw.Draw(image)
    boxed = [] if is_map else _boxed(prediction.detections, sizes)
    for detection, area in reversed(boxed):
        if detection.mask is None:  # a mask has its outline
            _frame(canvas, area, colour_of(detection.label), sizes)
    if sizes.text:
        for tag in _tags(prediction, boxed, sizes):
            _write(canvas, tag, sizes)
    _prompt(canvas, options, sizes)


def _lay_masks(image: Image.Image, detections: Sequence[Detection], line: int) -> None:
    for detection in reversed(detections):
        if detection.mask is not None:
            masks.lay(image, detection.mask, colour_of(detection.label), line)


def _boxed(detections: Sequence[Detection], sizes: Sizes) -> list[tuple[Detection, Area]]:
    return [(item, pixels(item.bbox, sizes)) for item in detections if item.bbox is not None]


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
    whole = _of_the_whole(prediction)
    rows = panel(whole, sizes) if whole else []
    labels = Labels(sizes, rows)
    tags = (labels.beside(detection, area) for detection, area in boxed[:_MOST_LABELS])
    return [*rows, *(tag for tag in tags if tag is not None)]


def _of_the_whole(prediction: Prediction) -> list[Detection]:
    """The labels of the whole picture; of a map all of them, the largest first: they are its legend."""
    if prediction.task == _MAP:
        return sorted(prediction.detections, key=lambda each: -each.mask.area if each.mask else 0)
    return [detection for detection in prediction.detections if detection.bbox is None]


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


# --- the prompt ----------------------------------------------------------------------------------


def _prompt(canvas: ImageDraw.ImageDraw, options: Options, sizes: Sizes) -> None:
    """Points as small discs, white for the object and black for what is not part of it; boxes as hairs of
    white and black: no label has these colours."""
    for box in options.boxes:
        _hair(canvas, pixels(box, sizes), max(1, sizes.line // 4))
    for point in options.points:
        _disc(canvas, point, sizes)


def _hair(canvas: ImageDraw.ImageDraw, area: Area, hair: int) -> None:
    left, top, right, bottom = area
    for colour in (WHITE, BLACK):
        if left < right and top < bottom:
            canvas.rectangle((left, top, right - 1, bottom - 1), outline=colour, width=hair)
        left, top, right, bottom = left + hair, top + hair, right - hair, bottom - hair


def _disc(canvas: ImageDraw.ImageDraw, point: Point, sizes: Sizes) -> None:
    x, y = point[0] * sizes.width, point[1] * sizes.height
    inner, outer = (WHITE, BLACK) if point[2] else (BLACK, WHITE)
    radius, ring = max(2, 2 * sizes.line), max(1, sizes.line // 2)
    canvas.circle((x, y), radius, fill=inner, outline=outer, width=ring)
