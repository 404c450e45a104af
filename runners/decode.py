"""Decodes a picture to upright RGB pixels.

Alpha: a partly transparent picture is composited on white, as a browser shows it. A fully transparent
one keeps its colours: such files come from writers that left the alpha channel empty.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hotswap.errors import BadPicture, BadRequest, PictureTooLarge
from hotswap.predictions import Picture
from runners.formats.bmp import Bmp
from runners.formats.iso_media import Avif, Heic
from runners.formats.jpeg import Jpeg
from runners.formats.png import Png
from runners.formats.webp import WebP
from runners.image_header import Format, orientation, sniff

Size = tuple[int, int]


class Encoded(Protocol):
    """A picture whose headers are read; it allocates no memory for pixels before `pixels` is called."""

    @property
    def size(self) -> Size:
        """Width and height as stored, in pixels."""

    @property
    def exif(self) -> bytes:
        """The EXIF block; empty when there is none."""

    @property
    def profile(self) -> bytes:
        """The colour profile; empty without a readable one."""

    def pixels(self, scale: int) -> Image.Image:
        """The pixels; raises when any are missing. JPEGs divide both sides by `scale`."""


_OPEN: Mapping[Format, Callable[[bytes], Encoded]] = {
    "JPEG": Jpeg,
    "PNG": Png,
    "WebP": WebP,
    "BMP": Bmp,
    "AVIF": Avif,
    "HEIC": Heic,
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


@dataclass(frozen=True, slots=True)
class Decoded:
    """An upright RGB picture, perhaps at a smaller scale, and the original's upright size in pixels."""

    image: Image.Image
    width: int
    height: int


def quiet() -> None:
    """Silence Pillow's warnings on odd metadata; errors that matter are raised."""
    warnings.filterwarnings("ignore", module=r"PIL\.")


quiet()


def decode(picture: Picture, model_input: Size, max_pixels: int) -> Decoded:
    """Decode a picture for a model that takes `model_input` (width, height).

    A JPEG is decoded at the smallest of the scales 1/8, 1/4, 1/2 that leaves both upright sides at
    least twice the model's. Raises `BadPicture` (empty, broken or truncated), `PictureTooLarge`
    (more than `max_pixels` according to the header) or `UnsupportedPicture`; nothing else.
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
    except Exception as error:  # noqa: BLE001 - Pillow's parsers raise errors of any kind
        raise BadPicture(f"the {kind} cannot be decoded: {_first_line(error)}") from None


def measure(data: bytes) -> tuple[Format, int, int]:
    """Format, and upright width and height in pixels, by the header alone.

    Raises `BadPicture` or `UnsupportedPicture`.
    """
    kind = sniff(data)
    try:
        file = _OPEN[kind](data)
        width, height = file.size
        return (kind, height, width) if orientation(file.exif) >= 5 else (kind, width, height)
    except BadRequest:
        raise
    except Exception as error:  # noqa: BLE001 - Pillow's parsers raise errors of any kind
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
    file = _OPEN[kind](data)
    _check_size(file.size, max_pixels)
    if isinstance(file, Jpeg):
        file.check(max_pixels)
    turn = orientation(file.exif)
    wanted = (2 * model_input[0], 2 * model_input[1])
    scale = dct_scale(file.size, wanted[::-1] if turn >= 5 else wanted)
    decoded = _upright(_as_rgb(file.pixels(scale)), file.size, turn)
    decoded.image.info["icc_profile"] = file.profile
    return decoded


def _check_size(size: Size, max_pixels: int) -> None:
    width, height = size
    if width * height > max_pixels:
        raise PictureTooLarge(
            f"the picture has {width}x{height} = {width * height} pixels; at most {max_pixels} are allowed"
        )


def _upright(image: Image.Image, size: Size, turn: int) -> Decoded:
    width, height = size[::-1] if turn >= 5 else size
    if turn > 1:
        image = image.transpose(_UPRIGHT[turn])
    return Decoded(image, width, height)


def _as_rgb(image: Image.Image) -> Image.Image:
    if image.has_transparency_data:
        return _on_white(image if image.mode == "RGBA" else image.convert("RGBA"))
    return image if image.mode == "RGB" else image.convert("RGB")


def _on_white(image: Image.Image) -> Image.Image:
    low, high = image.getchannel("A").getextrema()
    if low == 255 or high == 0:
        return image.convert("RGB")
    page = Image.new("RGB", image.size, "white")
    page.paste(image, mask=image)
    return page
