"""The format and orientation of a picture, read from its first bytes without decoding it."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from typing import Literal

from hotswap.errors import PICTURE_FORMATS, BadPicture, UnsupportedPicture

Format = Literal["JPEG", "PNG", "WebP", "BMP", "AVIF", "HEIC"]
READ = f"send {PICTURE_FORMATS}"

_ORIENTATION_TAG = 0x0112
_SHORT, _LONG = 3, 4

# Formats that users do send: naming the format helps more than "not a picture".
_OTHERS: tuple[tuple[bytes, str], ...] = (
    (b"GIF87a", "GIF"),
    (b"GIF89a", "GIF"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
    (b"II+\0", "BigTIFF"),
    (b"MM\0+", "BigTIFF"),
    (b"\xff\x0a", "JPEG XL"),
    (b"\0\0\0\x0cJXL ", "JPEG XL"),
    (b"\0\0\0\x0cjP  ", "JPEG 2000"),
    (b"\xff\x4f\xff\x51", "JPEG 2000"),
    (b"\0\0\1\0", "ICO"),
    (b"8BPS", "PSD"),
    (b"%PDF", "PDF"),
    (b"<svg", "SVG"),
    (b"<?xml", "XML or SVG"),
    (b"qoif", "QOI"),
    (b"DDS ", "DDS"),
    (b"v/1\x01", "OpenEXR"),
    (b"#?RADIANCE", "Radiance HDR"),
    *((b"P%d\n" % kind, "PNM") for kind in range(1, 8)),
)
# An ISO media file names its brand first, or a general brand and the specific one among the compatible ones.
_BRANDS: Mapping[bytes, Format] = {
    **dict.fromkeys((b"avif", b"avis"), "AVIF"),
    **dict.fromkeys((b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx"), "HEIC"),
}
_MOST_BRANDS = 32


def sniff(data: bytes) -> Format:
    """The format of a picture by its first bytes.

    Raises `UnsupportedPicture` for other known formats, `BadPicture` for anything else.
    """
    if data.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return "WebP"
    if data.startswith(b"BM"):
        return "BMP"
    kind = next((_BRANDS[brand] for brand in _brands(data) if brand in _BRANDS), None)
    if kind is None:
        raise _refusal(data)
    return kind


def _refusal(data: bytes) -> BadPicture | UnsupportedPicture:
    if not data:
        return BadPicture("the picture is empty (0 bytes)")
    other = _other_format(data)
    if other is not None:
        return UnsupportedPicture(f"the picture is {other}; {READ}")
    return BadPicture(f"the bytes are not a picture; {READ}")


def _other_format(data: bytes) -> str | None:
    if data[4:8] == b"ftyp":
        return "HEIF of another kind" if data[8:12] in (b"mif1", b"msf1") else "an ISO media file"
    return next((name for magic, name in _OTHERS if data.startswith(magic)), None)


def _brands(data: bytes) -> Iterator[bytes]:
    """The brands of an ISO media file, the major one first."""
    if data[4:8] != b"ftyp":
        return
    yield data[8:12]
    end = min(int.from_bytes(data[:4], "big"), 16 + 4 * _MOST_BRANDS)
    yield from (data[at : at + 4] for at in range(16, end, 4))


def orientation(exif: bytes) -> int:
    """The EXIF orientation, 1..8; 1 (upright) when it is missing or unreadable.

    A broken EXIF block does not make the picture invalid: viewers show such pictures too.
    """
    body = exif.removeprefix(b"Exif\0\0")
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(body[:4])
    if order is None:
        return 1
    try:
        value = _find_orientation(body, order)
    except struct.error:
        return 1
    return value if 1 <= value <= 8 else 1


def _find_orientation(body: bytes, order: str) -> int:
    (first,) = struct.unpack_from(order + "I", body, 4)
    (count,) = struct.unpack_from(order + "H", body, first)
    for at in range(first + 2, first + 2 + 12 * count, 12):
        tag, kind = struct.unpack_from(order + "HH", body, at)
        if tag == _ORIENTATION_TAG:
            letter = {_SHORT: "H", _LONG: "I"}.get(kind, "B")
            return int(struct.unpack_from(order + letter, body, at + 8)[0])
    return 1
