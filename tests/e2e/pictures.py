"""Pictures for requests."""

from __future__ import annotations

from io import BytesIO
from typing import Any

from PIL import Image


def picture(
    kind: str = "JPEG", size: tuple[int, int] = (64, 48), colour: Any = (90, 120, 60), **save: Any
) -> bytes:
    """The bytes of a picture of one colour."""
    return encoded(Image.new("RGB", size, colour), kind, **save)


def encoded(image: Image.Image, kind: str, **save: Any) -> bytes:
    """An image as the bytes of a file."""
    file = BytesIO()
    image.save(file, kind, **save)
    return file.getvalue()


def turned(orientation: int, size: tuple[int, int] = (64, 48)) -> bytes:
    """A JPEG whose EXIF says how to turn it."""
    image = Image.new("RGB", size, (200, 10, 10))
    exif = image.getexif()
    exif[0x0112] = orientation
    return encoded(image, "JPEG", exif=exif)


def grey(level: int) -> bytes:
    """A picture of one brightness, exact in every pixel: what the slow model counts its turns by."""
    return picture("BMP", (32, 32), (level, level, level))
