"""WebPs: their chunks are separated here, and the decoder gets those that pixels depend on."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from io import BytesIO

from PIL import Image
from PIL.WebPImagePlugin import WebPImageFile

from hotswap.errors import BadPicture

_KEPT = (b"VP8X", b"ALPH", b"VP8 ", b"VP8L", b"ANIM", b"ANMF")
_PIXELS = (b"VP8 ", b"VP8L", b"ANMF")


class WebP:
    """A WebP whose chunks are read and whose pixels are not: opening one claims memory for its canvas.

    Only the first picture of a moving one is read. Whether its data are whole is left to the decoder, which
    gets them with the sizes that they have; but lossless data that are cut are refused here, because the
    decoder does not miss the last byte.
    """

    def __init__(self, data: bytes) -> None:
        self.exif = b""
        self.profile = b""
        kept: list[bytes] = []
        shown = False
        for kind, body, missing in _chunks(data):
            if kind == b"EXIF":
                self.exif = self.exif or bytes(body)
            elif kind == b"ICCP":
                self.profile = self.profile or bytes(body)
            elif kind in _KEPT and not shown:
                if kind == b"VP8L" and missing:
                    raise BadPicture(f"the WebP is truncated: {missing} bytes of its pixels are missing")
                kept.append(_chunk(kind, bytes(body)))
                shown = kind in _PIXELS
        if not shown:
            raise BadPicture("the WebP is truncated: it has no pixels")
        chunks = b"".join(kept)
        self._clean = struct.pack("<4sI4s", b"RIFF", 4 + len(chunks), b"WEBP") + chunks
        size = webp_size(self._clean)
        if size is None:
            raise BadPicture("the WebP is truncated: its header is cut")
        self.size = size

    def pixels(self, scale: int) -> Image.Image:  # noqa: ARG002 - only JPEGs can
        """The pixels of the first picture; raises `BadPicture` or what Pillow raises."""
        image = WebPImageFile(BytesIO(self._clean))
        image.load()
        return image


def _chunks(data: bytes) -> Iterator[tuple[bytes, memoryview, int]]:
    """Kind and body of every chunk, and how many bytes the last one lacks. The file's size is not used."""
    view, at = memoryview(data), 12
    while len(data) - at >= 8:
        kind, length = struct.unpack_from("<4sI", data, at)
        body = view[at + 8 : at + 8 + length]
        yield kind, body, length - len(body)
        at += 8 + length + length % 2


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack("<4sI", kind, len(body)) + body + bytes(len(body) % 2)


def webp_size(data: bytes) -> tuple[int, int] | None:
    """Width and height of a WebP's canvas in pixels; None when the header does not say."""
    chunk = data[12:16]
    if len(data) < 30:
        return None
    if chunk == b"VP8X":
        return _three_bytes(data, 24) + 1, _three_bytes(data, 27) + 1
    if chunk == b"VP8L":
        (bits,) = struct.unpack_from("<I", data, 21)
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if chunk == b"VP8 ":
        width, height = struct.unpack_from("<HH", data, 26)
        return width & 0x3FFF, height & 0x3FFF
    return None


def _three_bytes(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 3], "little")
