"""From the bytes of a picture to upright RGB pixels.

Alpha: a partly transparent picture is laid on white, as a page would show it. One that is
transparent everywhere keeps its colours: such files come from writers that left alpha empty.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.BmpImagePlugin import BmpImageFile
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.WebPImagePlugin import WebPImageFile

from hotswap.errors import BadPicture, BadRequest, PictureTooLarge, UnsupportedPicture
from hotswap.runner import Picture
from runners.header import Format, orientation, sniff, webp_size

Size = tuple[int, int]

# The plugins are called directly: `Image.open` would try others, hand JPEGs with a second picture
# to another plugin, and warn by a limit of its own.
_OPEN: Mapping[Format, Callable[[BytesIO], ImageFile]] = {
    "JPEG": JpegImageFile,
    "PNG": PngImageFile,
    "WebP": WebPImageFile,
    "BMP": BmpImageFile,
}
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_DCT_SCALES = (8, 4, 2)
# A progressive JPEG can name a scan in a few bytes, and each costs a pass over all pixels. Encoders
# write about ten; this many passes over a picture at the pixel limit are allowed.
_MOST_PASSES = 20
_RUN_LENGTH = (1, 2)


@dataclass(frozen=True, slots=True)
class Decoded:
    """An upright RGB picture, perhaps at a smaller scale, and the original's upright size in pixels."""

    image: Image.Image
    width: int
    height: int


def quiet() -> None:
    """Keep Pillow's remarks on odd metadata off stderr: what matters is raised."""
    warnings.filterwarnings("ignore", module=r"PIL\.")


quiet()


def decode(picture: Picture, model_input: Size, max_pixels: int) -> Decoded:
    """Decode a picture for a model that takes `model_input` (width, height).

    A JPEG is decoded at the smallest of the scales 1/8, 1/4, 1/2 that leaves both upright sides at
    least twice the model's. Raises `BadPicture` (empty, broken or truncated), `PictureTooLarge`
    (more than `max_pixels`, told from the header) or `UnsupportedPicture`; nothing else.
    """
    if picture.pixels is not None:
        return _from_pixels(picture.pixels, max_pixels)
    data = picture.encoded or b""
    kind = sniff(data)
    try:
        return _from_bytes(kind, data, model_input, max_pixels)
    except BadRequest:
        raise
    except (MemoryError, Image.DecompressionBombError) as error:
        raise PictureTooLarge(f"the {kind} does not fit in memory: {_first_line(error)}") from None
    except Exception as error:  # noqa: BLE001 - Pillow raises whatever its parsing stumbles on
        raise BadPicture(f"the {kind} cannot be decoded: {_first_line(error)}") from None


def dct_scale(size: Size, wanted: Size) -> int:
    """The largest of 8, 4, 2, 1 by which `size` can be divided with both sides at least `wanted`."""
    for scale in _DCT_SCALES:
        if all(-(-side // scale) >= least for side, least in zip(size, wanted, strict=True)):
            return scale
    return 1


def _first_line(error: BaseException) -> str:
    lines = str(error).splitlines()
    return lines[0][:120] if lines else type(error).__name__


def _from_pixels(pixels: NDArray[np.uint8], max_pixels: int) -> Decoded:
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or not pixels.size:
        raise BadPicture(
            f"pixels must be uint8 [height, width, 3], found {pixels.dtype} {list(pixels.shape)}"
        )
    height, width, _ = pixels.shape
    _check_size((width, height), max_pixels)
    return Decoded(Image.fromarray(pixels), width, height)


def _from_bytes(kind: Format, data: bytes, model_input: Size, max_pixels: int) -> Decoded:
    if kind == "WebP":
        # Opening a WebP already claims memory for its canvas.
        _check_size(webp_size(data) or (1, 1), max_pixels)
    image = _OPEN[kind](BytesIO(data))
    _check_size(image.size, max_pixels)
    _check_cost(kind, image, data, max_pixels)
    size, wanted = image.size, (2 * model_input[0], 2 * model_input[1])
    if isinstance(image, JpegImageFile):
        _draft(image, wanted)
    image.load()
    return _upright(_as_rgb(image), size, _turn(image))


def _check_size(size: Size, max_pixels: int) -> None:
    width, height = size
    if width * height > max_pixels:
        raise PictureTooLarge(
            f"the picture has {width}x{height} = {width * height} pixels; at most {max_pixels} are allowed"
        )


def _check_cost(kind: Format, image: ImageFile, data: bytes, max_pixels: int) -> None:
    """Refuse the few encodings in which small files cost seconds."""
    if kind == "JPEG" and "progressive" in image.info:
        scans = data.count(b"\xff\xda")
        if scans * image.width * image.height > _MOST_PASSES * max_pixels:
            raise BadPicture(f"the JPEG has {scans} scans, too many for its size")
    if kind == "BMP" and image.info.get("compression") in _RUN_LENGTH:
        raise UnsupportedPicture("the BMP is run-length coded; uncompressed ones are read")


def _draft(image: JpegImageFile, wanted: Size) -> None:
    """Let the JPEG decoder scale down; `wanted` is upright (width, height)."""
    across = wanted[::-1] if _turn(image) >= 5 else wanted
    scale = dct_scale(image.size, across)
    if scale > 1:
        image.draft(None, (image.width // scale, image.height // scale))


def _turn(image: Image.Image) -> int:
    exif = image.info.get("exif")
    return orientation(exif) if isinstance(exif, bytes) else 1


def _upright(image: Image.Image, size: Size, turn: int) -> Decoded:
    width, height = size[::-1] if turn >= 5 else size
    if turn > 1:
        image = image.transpose(_UPRIGHT[turn])
    return Decoded(image, width, height)


def _as_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):
        image = _eight_bits(image)
    if image.has_transparency_data:
        return _on_white(image if image.mode == "RGBA" else image.convert("RGBA"))
    return image if image.mode == "RGB" else image.convert("RGB")


def _eight_bits(image: Image.Image) -> Image.Image:
    """16-bit grey to 8 bits by its high byte; Pillow's own conversion clips instead."""
    grey: NDArray[Any] = np.asarray(image)
    return Image.fromarray((grey >> 8).astype(np.uint8))


def _on_white(image: Image.Image) -> Image.Image:
    low, high = image.getchannel("A").getextrema()
    if low == 255 or high == 0:
        return image.convert("RGB")
    page = Image.new("RGB", image.size, "white")
    page.paste(image, mask=image)
    return page
