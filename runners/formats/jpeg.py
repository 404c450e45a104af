"""JPEGs: whole when the coded data hold all pixels, whatever their last bytes are.

The decoder gets the segments that pixels depend on and nothing else, so that only what it says of the
coded data is left to judge. Two things it does not say are counted here: scans that are missing and
restart markers that are missing.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile

from hotswap.errors import BadPicture, UnsupportedPicture
from runners.formats.canvas import Canvas

_SOI, _EOI = b"\xff\xd8", b"\xff\xd9"
_TEM, _RST0, _RST7, _SOI_CODE, _EOI_CODE, _SOS, _DRI = 0x01, 0xD0, 0xD7, 0xD8, 0xD9, 0xDA, 0xDD
_APP0, _APP1, _APP2, _APP14, _APP15, _COM = 0xE0, 0xE1, 0xE2, 0xEE, 0xEF, 0xFE
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_SEQUENTIAL, _PROGRESSIVE, _ARITHMETIC = (0xC0, 0xC1, 0xC9), (0xC2, 0xCA), (0xC9, 0xCA)
# Bytes that fill before a marker are no part of it, except where something is put before it.
_MARKER = re.compile(rb"\xff([\x01-\xfe])")
_FILLED_MARKER = re.compile(rb"\xff+[\x01-\xfe]")
# A progressive JPEG can name a scan in a few bytes, and each costs a pass over all pixels. Encoders
# write about ten; this many passes over a picture at the pixel limit are allowed.
_MOST_PASSES = 20
_SPARE_AT_END = re.compile(r"extraneous bytes before marker 0xd9$")
# What the decoder leaves undecided: it reads no such JPEG, or remarks on something harmless before it
# could remark on data that are missing.
_UNDECIDED = re.compile(r"subsampling|colorspace|color conversion|extraneous bytes|Invalid SOS parameters")
# Bytes that no decoder takes for a marker or for the zeros that it makes up where data end.
_STRAY = bytes.fromhex("6bd1359e4ac72d8316f05ab96cd42e97")
# Arithmetic coders leave out zeros at the end of a segment.
_LEFT_OUT = bytes(8)


@dataclass(slots=True)
class _Frame:
    """What the frame header says, and how far the scans have come."""

    code: int
    height: int
    width: int
    sampling: dict[int, tuple[int, int]]
    # Of every coefficient of every component: the bits still to come.
    open: dict[int, list[int]] = field(default_factory=dict)

    @property
    def whole(self) -> bool:
        return not any(map(any, self.open.values()))

    def take(self, scan: bytes) -> list[int]:
        """Note what the scan brings; say of which components."""
        names = list(scan[1 : 1 + 2 * scan[0] : 2])
        first, last, shift = scan[1 + 2 * scan[0] : 4 + 2 * scan[0]]
        low = shift & 15
        if self.code not in _PROGRESSIVE:
            first, last, low = 0, 63, 0
        for name in names:
            if name in self.open and first <= last <= 63:
                self.open[name][first : last + 1] = [low] * (last + 1 - first)
        return names

    def units(self, names: list[int]) -> int:
        """How many units, between which restart markers may stand, a scan of these components has."""
        across = max(across for across, _ in self.sampling.values())
        down = max(down for _, down in self.sampling.values())
        own = self.sampling.get(names[0], (1, 1)) if len(names) == 1 else (1, 1)
        edge = 8 if self.code in _SEQUENTIAL or self.code in _PROGRESSIVE else 1
        wide, high = edge * across, edge * down
        return -(-self.width * own[0] // wide) * -(-self.height * own[1] // high)


@dataclass(frozen=True, slots=True)
class _Headers:
    """What stands before the first scan."""

    frame: _Frame
    # Segments that pixels may depend on.
    kept: list[tuple[int, bytes]]
    exif: bytes
    # Number of the part, of how many, and the part.
    profile: list[tuple[int, int, bytes]]
    # How many units lie between two restart markers; 0: there are none.
    interval: int
    # Where the first scan's header begins.
    start: int
    # Whether the decoder has nothing to remark on in the file's own segments.
    plain: bool


class Jpeg:
    """A JPEG whose headers are read and whose pixels are not.

    Raises `BadPicture` where scans or restart markers are missing, `UnsupportedPicture` where the
    decoder reads no such JPEG.
    """

    def __init__(self, data: bytes) -> None:
        headers = _headers(data)
        self._data = data
        self._headers = headers
        self._of = headers.frame
        self.exif = headers.exif
        self.size = (headers.frame.width, headers.frame.height)

    @property
    def profile(self) -> bytes:
        """The colour profile; empty when there is none, or parts are missing."""
        parts = sorted(self._headers.profile)
        count = len(parts)
        whole = [part[:2] for part in parts] == [(number, count) for number in range(1, count + 1)]
        return b"".join(part[2] for part in parts) if whole else b""

    def check(self, max_pixels: int) -> None:
        """Refuse a JPEG that lacks scans or restart markers, or has too many scans for `max_pixels`."""
        self._read_scans(max_pixels)
        if not self._of.whole:
            raise BadPicture("the JPEG is truncated: scans are missing")

    def pixels(self, scale: int) -> Image.Image:
        """The pixels, both sides divided by `scale`; raises `BadPicture` where data are missing."""
        clean, start = self._clean()
        size = (-(-self.size[0] // scale), -(-self.size[1] // scale))
        inks = len(self._of.sampling) == 4
        canvas = Canvas(size)
        remark = _decode(clean, "CMYK" if inks else "RGBX", canvas.pixels)
        if _SPARE_AT_END.search(remark):
            # A buffer of a fixed size is filled with zeros where the picture did not come to its end, and
            # zeros may be codes: without them the decoder asks for more.
            remark = _decode(_without_zeros(clean, start), "CMYK" if inks else "RGBX", canvas.pixels)
        if remark and not _SPARE_AT_END.search(remark):
            if _UNDECIDED.search(remark):
                return self._compared(clean, start, scale)
            raise BadPicture(f"the JPEG is truncated or corrupt: {remark}")
        if self._of.code in _ARITHMETIC:
            # Its coder makes up zeros without a remark.
            return self._compared(clean, start, scale)
        if inks:
            return Image.frombytes("CMYK", size, canvas.pixels, "raw", "CMYK;I")
        return canvas.image()

    def _compared(self, clean: bytes, start: int, scale: int) -> Image.Image:
        """Decode twice, the second time with stray bytes before every marker.

        For what the first decoder does not read or judge: a segment that holds all of its data never
        comes to read the stray bytes, one that lacks some does, and other pixels come out.
        """
        stray = (_LEFT_OUT if self._of.code in _ARITHMETIC else b"") + _STRAY
        padded = _FILLED_MARKER.sub(lambda found: stray + found[0], clean[start:])
        image, other = _by_pillow(clean, scale), _by_pillow(clean[:start] + padded, scale)
        if image.tobytes() != other.tobytes():
            raise BadPicture("the JPEG is truncated: its data end before its pixels do")
        return image

    def _clean(self) -> tuple[bytes, int]:
        """What the decoder gets, with an end mark; and where its first scan begins.

        Most files are passed on as they are: a copy of a large one costs as much as a small picture.
        """
        profile_is_plain = bool(self.profile) or not self._headers.profile
        if self._headers.plain and profile_is_plain and self._data.endswith(_EOI):
            return self._data, self._headers.start
        parts: list[Any] = [_SOI]
        for code, body in self._headers.kept:
            kept = _plain(code, body, len(self._of.sampling))
            if kept is not None:
                parts += [struct.pack(">BBH", 0xFF, code, len(kept) + 2), kept]
        headers = b"".join(parts)
        return b"".join([headers, memoryview(self._data)[self._headers.start :], _EOI]), len(headers)

    def _read_scans(self, max_pixels: int) -> None:
        """Follow the scans, as far as one is needed to know whether any is missing."""
        frame, data, at, passes = self._of, self._data, self._headers.start, 0
        interval = self._headers.interval
        while at < len(data):
            code, body, at = _segment(data, at)
            if code == _EOI_CODE:
                return
            if code == _DRI and len(body) >= 2:
                interval = int.from_bytes(body[:2], "big")
            if code != _SOS:
                continue
            passes += 1
            if passes * frame.width * frame.height > _MOST_PASSES * max_pixels and passes > 1:
                raise BadPicture(f"the JPEG has {passes} scans or more, too many for its size")
            names = frame.take(_scan(body))
            wanted = -(-frame.units(names) // interval) - 1 if interval else 0
            sequential = frame.code not in _PROGRESSIVE
            if sequential and frame.whole and not wanted:
                return
            at = _skip_coded(data, at, wanted)
            if sequential and frame.whole:
                return


def _decode(data: bytes, kind: str, canvas: NDArray[np.uint8]) -> str:
    """Decode into `canvas`; the decoder's first remark, empty where it makes none."""
    high, wide = canvas.shape[:2]
    try:
        # It decodes all, and gives its first remark afterwards.
        simplejpeg.decode_jpeg(data, kind, min_height=high, min_width=wide, buffer=canvas)
    except ValueError as error:
        return str(error)
    return ""


def _without_zeros(data: bytes, start: int) -> bytes:
    """The same without the zeros before the first end mark, but for one that may end the coded data."""
    end = data.find(_EOI, start)
    last = start + len(data[start:end].rstrip(b"\0"))
    kept = last + 1 + (data[last - 1] == 0xFF)
    return data if kept >= end else data[:kept] + data[end:]


def _by_pillow(data: bytes, scale: int) -> Image.Image:
    image = JpegImageFile(BytesIO(data))
    if scale > 1:
        image.draft(None, (image.width // scale, image.height // scale))
    image.load()
    return image


def _headers(data: bytes) -> _Headers:
    frame, kept, exif, profile, interval = None, [], b"", [], 0
    plain, end = True, len(_SOI)
    for code, start, body in _segments(data):
        plain, end = plain and start == end, start + 4 + len(body)
        if code == _SOS and frame:
            plain = plain and all(_plain(*each, len(frame.sampling)) == each[1] for each in kept)
            return _Headers(frame, kept, exif, profile, interval, start, plain)
        if code in _FRAMES:
            frame = _frame(code, body)
        elif code == _DRI and len(body) >= 2:
            interval = int.from_bytes(body[:2], "big")
        elif code == _APP1 and body.startswith(b"Exif\0\0"):
            exif = exif or body
        elif code == _APP2 and body.startswith(b"ICC_PROFILE\0") and len(body) >= 14:
            profile.append((body[12], body[13], body[14:]))
        if code in (_APP0, _APP14) or not (_APP0 <= code <= _APP15 or code == _COM):
            kept.append((code, body))
    raise BadPicture("the JPEG has no pixels: it ends within its headers")


def _segments(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Code, place and body of every segment, up to and with the first scan's header."""
    at = len(_SOI)
    while at < len(data):
        found = _MARKER.search(data, at)
        if found is None:
            return
        code, body, at = _segment(data, found.start())
        yield code, found.start(), body
        if code in (_SOS, _EOI_CODE):
            return


def _segment(data: bytes, at: int) -> tuple[int, bytes, int]:
    """Code and body of the segment that begins at or after `at`, and where it ends."""
    found = _MARKER.search(data, at)
    if found is None:
        return _EOI_CODE, b"", len(data)
    code, end = found[1][0], found.end()
    if code == _TEM or _RST0 <= code <= _EOI_CODE:
        return code, b"", end
    length = int.from_bytes(data[end : end + 2], "big")
    if length < 2 or len(data) < end + 2:
        raise BadPicture("the JPEG is truncated or corrupt: a segment has no length")
    return code, data[end + 2 : end + length], end + length


def _frame(code: int, body: bytes) -> _Frame:
    try:
        bits, height, width, count = struct.unpack_from(">BHHB", body)
        parts = [struct.unpack_from(">BB", body, 6 + 3 * index) for index in range(count)]
    except struct.error:
        raise BadPicture("the JPEG is truncated or corrupt: its frame header is cut") from None
    sampling = {name: (factors >> 4, factors & 15) for name, factors in parts}
    if not width or not height or not sampling or any(not 1 <= f <= 4 for s in sampling.values() for f in s):
        raise BadPicture(f"the JPEG has a frame that cannot be: {width}x{height}, {count} components")
    if bits != 8:
        raise UnsupportedPicture(f"the JPEG has {bits} bits a sample; those of 8 are read")
    return _Frame(code, height, width, sampling, {name: [1] * 64 for name in sampling})


def _scan(body: bytes) -> bytes:
    if not body or not body[0] or len(body) < 4 + 2 * body[0]:
        raise BadPicture("the JPEG is truncated or corrupt: a scan's header is cut")
    return body


def _skip_coded(data: bytes, at: int, wanted: int) -> int:
    """Where the coded data that begin at `at` end; they must hold `wanted` restart markers in order."""
    seen = 0
    for found in _MARKER.finditer(data, at):
        code = found[1][0]
        if not _RST0 <= code <= _RST7:
            at = found.start()
            break
        if seen < wanted and code != _RST0 + seen % 8:
            raise BadPicture(f"the JPEG is truncated or corrupt: restart marker {seen} is missing")
        seen += 1
    else:
        at = len(data)
    if seen < wanted:
        raise BadPicture(f"the JPEG is truncated: {seen} of {wanted} restart markers are there")
    return at


def _plain(code: int, body: bytes, components: int) -> bytes | None:
    """The segment's body, free of what a decoder would remark on; None: no pixel depends on it."""
    if code == _APP0:
        if not body.startswith(b"JFIF\0") or len(body) < 14:
            return None
        return body if body[5] == 1 else b"JFIF\0\1\1\0\0\1\0\1\0\0"
    if code != _APP14:
        return body
    if not body.startswith(b"Adobe") or len(body) < 12:
        return None
    # Undefined codes mean what decoders take them for.
    transform = 0 if not body[11] else 2 if components == 4 else 1
    return body[:11] + bytes([transform])
