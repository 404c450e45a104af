"""PNGs: their rows are counted, and Pillow gets nothing but what pixels depend on.

What Pillow reads is a PNG made while it is read: the header, the palette, and the rows, which are inflated
here, counted, and passed on uncompressed. So metadata are never looked into, the rows are inflated once,
and no more of them than the header asks for.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Any, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngImageFile
from zlib_ng import zlib_ng

from hotswap.errors import BadPicture

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_END_MARK = b"\0\0\0\0IEND\xae\x42\x60\x82"
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
_GREY, _RGB, _PALETTE = 0, 2, 3
# Of Adam7: first column and row of each pass, and the steps to the next.
_PASSES = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
_TRANSPARENT = {_GREY: 2, _RGB: 6}
_LONGEST_PROFILE = 1_000_000
_STORED = 65_535
_SLICE = 32_768


@dataclass(frozen=True, slots=True)
class _Header:
    width: int
    height: int
    depth: int
    colour: int
    interlaced: bool
    body: bytes

    @property
    def rows_size(self) -> int:
        """How many bytes the rows have, each with the byte of its filter."""
        passes = _PASSES if self.interlaced else ((0, 0, 1, 1),)
        total = 0
        for left, top, across, down in passes:
            wide, high = -(-(self.width - left) // across), -(-(self.height - top) // down)
            if wide > 0 and high > 0:
                total += high * (1 + (wide * self.depth * _CHANNELS[self.colour] + 7) // 8)
        return total


@dataclass(frozen=True, slots=True)
class _Chunk:
    kind: bytes
    body: memoryview
    checked: memoryview
    cut: bool

    @property
    def right(self) -> bool:
        """Whether it is whole and its checksum is right."""
        return not self.cut and zlib_ng.crc32(self.checked[:-4]) == int.from_bytes(self.checked[-4:], "big")


class Png:
    """A PNG whose chunks are read and whose pixels are not; raises `BadPicture` where one is damaged."""

    def __init__(self, data: bytes) -> None:
        self.exif = b""
        self._palette = b""
        self._transparent = b""
        self._profile = b""
        self._coded = b""
        self._header = self._read(data)
        self.size = (self._header.width, self._header.height)

    @property
    def profile(self) -> bytes:
        """The colour profile; empty when there is none, or it cannot be read, or is beyond measure."""
        _, _, packed = self._profile.partition(b"\0")
        inflater = zlib.decompressobj()
        try:
            profile = inflater.decompress(packed[1:], _LONGEST_PROFILE)
        except zlib.error:
            return b""
        return profile if inflater.eof else b""

    def pixels(self, scale: int) -> Image.Image:  # noqa: ARG002 - only JPEGs can
        """The pixels, with alpha where some may be clear; raises `BadPicture` where rows are missing."""
        header, image = self._header, self._open()
        image.load()
        if header.depth == 16 and header.colour == _GREY:
            grey: NDArray[np.uint16] = np.asarray(image)
            return self._with_alpha(Image.fromarray((grey >> 8).astype(np.uint8)), [grey])
        if not self._transparent or header.colour == _PALETTE:
            return image
        if header.colour == _GREY:
            return self._with_alpha(image.convert("L"), [np.asarray(image.convert("L"))])
        return self._with_alpha(image, self._samples(image))

    def _samples(self, image: Image.Image) -> list[NDArray[Any]]:
        """Red, green and blue as they stand in the file."""
        pixels = np.asarray(image)
        if self._header.depth == 16:
            pixels = pixels.astype(np.uint16) << 8 | self._low_bytes()
        return list(pixels.transpose(2, 0, 1))

    def _low_bytes(self) -> NDArray[np.uint8]:
        """The low bytes of 16 bits a sample, of which Pillow gives the high ones."""
        image = self._open()
        image.tile = [tile._replace(args="RGB;16L") for tile in image.tile]
        image.load()
        return np.asarray(image)

    def _with_alpha(self, image: Image.Image, samples: list[NDArray[Any]]) -> Image.Image:
        if not self._transparent:
            return image
        depth = self._header.depth
        wanted = [value & (1 << depth) - 1 for value in struct.unpack(f">{len(samples)}H", self._transparent)]
        if depth < 8:
            wanted = [value * 255 // ((1 << depth) - 1) for value in wanted]
        opaque = np.zeros(samples[0].shape, dtype=bool)
        for sample, value in zip(samples, wanted, strict=True):
            opaque |= sample != value
        image.putalpha(Image.fromarray(opaque.astype(np.uint8) * 255))
        return image

    def _open(self) -> PngImageFile:
        return PngImageFile(cast(IO[bytes], _Pieces(self._made())))

    def _made(self) -> Iterator[bytes]:
        """The PNG that Pillow reads, piece by piece."""
        yield _SIGNATURE + _chunk(b"IHDR", self._header.body)
        if self._header.colour == _PALETTE:
            yield _chunk(b"PLTE", self._palette)
            if self._transparent:
                yield _chunk(b"tRNS", self._transparent)
        yield _rows(b"\x78\x01")
        adler = 1
        for rows in _inflated(self._coded, self._header.rows_size):
            adler = zlib_ng.adler32(rows, adler)
            yield _rows(struct.pack("<BHH", 0, len(rows), len(rows) ^ 0xFFFF), rows)
        yield _rows(struct.pack("<BHH", 1, 0, 0xFFFF), struct.pack(">I", adler))
        yield _chunk(b"IEND", b"")

    def _read(self, data: bytes) -> _Header:
        """Take the chunks that pixels depend on, and the orientation's; pass over all others."""
        chunks = _chunks(data)
        first = next(chunks, None)
        if first is None or first.kind != b"IHDR" or not first.right:
            raise BadPicture("the PNG is truncated or corrupt: it does not begin with a whole header")
        header = _header(bytes(first.body))
        coded: list[memoryview] = []
        ended = False
        for chunk in chunks:
            if chunk.kind == b"IEND":
                break
            if chunk.kind == b"eXIf" and chunk.right:
                self.exif = self.exif or bytes(chunk.body)
            elif ended:
                continue
            elif chunk.kind == b"IDAT":
                # Where the file ends within the chunk, the rows that are there are counted.
                _expect(chunk, chunk.right or chunk.cut)
                coded.append(chunk.body)
            elif coded:
                ended = True
            else:
                self._take(header, chunk)
        if not coded:
            raise BadPicture("the PNG is truncated: it has no rows")
        if header.colour == _PALETTE and not self._palette:
            raise BadPicture("the PNG is corrupt: its pixels are numbers in a palette, and there is none")
        self._coded = b"".join(coded)
        return header

    def _take(self, header: _Header, chunk: _Chunk) -> None:
        """Keep a chunk before the rows when pixels depend on it; one that cannot be used is passed over
        where decoders pass over it, too."""
        body = bytes(chunk.body) if chunk.kind in (b"PLTE", b"tRNS") else b""
        if chunk.kind == b"PLTE":
            if header.colour == _PALETTE:  # elsewhere it is a suggestion, and no pixel depends on it
                _expect(chunk, chunk.right and len(body) in range(3, 769, 3))
            self._palette = body
        elif chunk.kind == b"tRNS" and chunk.right:
            palette = 0 < len(body) <= len(self._palette) // 3
            fits = palette if header.colour == _PALETTE else len(body) == _TRANSPARENT.get(header.colour)
            self._transparent = body if fits else b""
        elif chunk.kind == b"iCCP" and chunk.right:
            self._profile = bytes(chunk.body)
        elif chunk.kind[:1].isupper():
            raise BadPicture(f"the PNG needs a chunk {_name(chunk.kind)} that is not known here")


class _Pieces:
    """What `pieces` give, read as a file is, once and forwards."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._ready = bytearray()
        self._at = 0

    def read(self, size: int) -> bytes:
        """The next `size` bytes, fewer at the end."""
        while len(self._ready) < size:
            piece = next(self._pieces, None)
            if piece is None:
                break
            self._ready += piece
        taken = bytes(self._ready[:size])
        del self._ready[:size]
        self._at += len(taken)
        return taken

    def tell(self) -> int:
        """How many bytes were read."""
        return self._at

    def seek(self, at: int) -> int:
        """Stay: there is no other place to go."""
        if at != self._at:
            raise OSError("a PNG that is made while it is read cannot be wound")
        return at


def _header(body: bytes) -> _Header:
    if len(body) != 13:
        raise BadPicture(f"the PNG is corrupt: its header has {len(body)} bytes, not 13")
    width, height, depth, colour, packing, filters, interlaced = struct.unpack(">IIBBBBB", body)
    if not (0 < width < 2**31 and 0 < height < 2**31) or depth not in _DEPTHS.get(colour, ()):
        raise BadPicture(
            f"the PNG has a header that cannot be: {width}x{height}, depth {depth}, colour type {colour}"
        )
    if packing or filters or interlaced > 1:
        raise BadPicture("the PNG is packed, filtered or interlaced in a way that no standard knows")
    return _Header(width, height, depth, colour, bool(interlaced), body)


def _chunks(data: bytes) -> Iterator[_Chunk]:
    """The chunks, one after the other, to the end of the data."""
    view, at = memoryview(data), len(_SIGNATURE)
    while len(data) - at >= 8:
        length, kind = struct.unpack_from(">I4s", data, at)
        end = at + 8 + length
        cut = end + 4 > len(data)
        if cut and data.endswith(_END_MARK):
            # Put behind what was lost; as data it would pass for rows.
            end = max(at + 8, len(data) - len(_END_MARK))
        yield _Chunk(kind, view[at + 8 : end], view[at + 4 : end + 4], cut)
        if cut:
            return
        at = end + 4


def _expect(chunk: _Chunk, right: bool) -> None:
    if not right:
        raise BadPicture(f"the PNG is truncated or corrupt: a chunk {_name(chunk.kind)} is damaged")


def _name(kind: bytes) -> str:
    return kind.decode("ascii", "backslashreplace")


def _chunk(kind: bytes, body: bytes) -> bytes:
    return (
        struct.pack(">I4s", len(body), kind)
        + body
        + struct.pack(">I", zlib_ng.crc32(body, zlib_ng.crc32(kind)))
    )


def _rows(*parts: bytes) -> bytes:
    """A chunk of rows; its checksum, which Pillow does not read, is left empty."""
    return b"".join([struct.pack(">I4s", sum(map(len, parts)), b"IDAT"), *parts, bytes(4)])


def _inflated(coded: bytes, size: int) -> Iterator[bytes]:
    """The first `size` bytes of what was packed, in pieces; raises `BadPicture` where there are fewer.

    Further ones are not read. A checksum that is there has to be right.
    """
    inflater, wanted = zlib_ng.decompressobj(), size
    slices = [memoryview(coded)[at : at + _SLICE] for at in range(0, len(coded), _SLICE)]
    for piece in [*slices, memoryview(b"")]:
        rest: bytes | memoryview = piece
        while not inflater.eof:
            rows = inflater.decompress(rest, min(size, _STORED) or 1)
            if rows and not size:
                return
            if rows:
                yield rows
            size -= len(rows)
            rest = inflater.unconsumed_tail
            if not rest and not (rows and not piece):
                break
    if size:
        raise BadPicture(f"the PNG is truncated: {wanted - size} of {wanted} bytes of its rows are there")
