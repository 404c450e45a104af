"""Pictures as no camera makes them: broken, lying, enormous, or merely rare. Told by a seed."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from random import Random

import numpy as np
from PIL import Image

from tests.e2e.pictures import encoded, turned

Make = Callable[[Random], bytes]


def odd_picture(random: Random) -> bytes:
    """The bytes of an odd picture, or of none; some with much behind them that nobody reads."""
    behind = random.choice([0, 200_000])
    return random.choice(_KINDS)(random) + random.randbytes(behind)


def _noise(random: Random) -> bytes:
    return random.randbytes(random.choice([0, 1, 2, 10, 100, 5000]))


def _magic(random: Random) -> bytes:
    """The first bytes of a format, and then nonsense."""
    begins = [
        b"\xff\xd8\xff",
        b"\x89PNG\r\n\x1a\n",
        b"RIFF\x10\x00\x00\x00WEBPVP8 ",
        b"BM",
        b"GIF89a",
        b"II*\0",
    ]
    return random.choice(begins) + random.randbytes(random.choice([0, 4, 40, 4000]))


def _real(random: Random) -> bytes:
    """A picture that can be read, often of a rare kind."""
    return random.choice(_SEEDS)


def _flipped(random: Random) -> bytes:
    data = bytearray(_real(random))
    for _ in range(random.choice([1, 3, 30])):
        data[random.randrange(len(data))] ^= 1 << random.randrange(8)
    return bytes(data)


def _truncated(random: Random) -> bytes:
    data = _real(random)
    return data[: random.randrange(len(data))]


def _spliced(random: Random) -> bytes:
    one, other = _real(random), _real(random)
    return one[: random.randrange(len(one))] + other[random.randrange(len(other)) :]


def _stuffed(random: Random) -> bytes:
    data = bytearray(_real(random))
    at = random.randrange(len(data))
    data[at:at] = random.randbytes(random.choice([1, 4, 1000]))
    return bytes(data)


def _lying(random: Random) -> bytes:
    """A header that declares sides of its own."""
    sides = [0, 1, 2**15, 2**16 - 1, 2**31 - 1, 2**32 - 1]
    return random.choice([_png_of, _bmp_of, _jpeg_of])(random.choice(sides), random.choice(sides))


def _png_of(width: int, height: int, pixels: bytes = b"") -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(pixels, 9)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, data) for kind, data in chunks)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _bmp_of(width: int, height: int) -> bytes:
    size = struct.pack("<II", width, height)
    return (
        b"BM"
        + struct.pack("<IHHI", 54, 0, 0, 54)
        + struct.pack("<I", 40)
        + size
        + struct.pack("<HH24x", 1, 24)
    )


def _jpeg_of(width: int, height: int) -> bytes:
    data = bytearray(_SEEDS[0])
    frame = data.index(b"\xff\xc0")
    data[frame + 5 : frame + 9] = struct.pack(">HH", height & 0xFFFF, width & 0xFFFF)
    return bytes(data)


def _bomb(random: Random) -> bytes:
    """Few bytes that unpack to many: more than the picture has pixels, or a comment."""
    if random.random() < 0.5:
        return _png_of(16, 16, bytes(20_000_000))
    text = _chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(50_000_000), 9))
    whole = _png_of(16, 16, bytes(16 * 49))
    return whole[:33] + text + whole[33:]


def _exif(random: Random) -> bytes:
    """EXIF blocks that are right, odd or nonsense."""
    data = turned(random.choice([0, 1, 3, 6, 8, 9, 65535]))
    if random.random() < 0.5:
        return data
    at = data.index(b"Exif\0\0") + 6
    size = random.choice([2, 8, 40])
    return data[:at] + random.randbytes(size) + data[at + size :]


def _seeds() -> list[bytes]:
    """Pictures of every format and of rare modes."""
    rng = np.random.default_rng(0)
    rgb = Image.fromarray(rng.integers(0, 256, (40, 60, 3), dtype=np.uint8))
    deep = Image.fromarray(rng.integers(0, 65536, (40, 60), dtype=np.uint16))
    clear = rgb.copy()
    clear.putalpha(90)
    return [
        encoded(rgb, "JPEG"),
        encoded(rgb, "JPEG", progressive=True),
        encoded(rgb.convert("CMYK"), "JPEG"),
        encoded(rgb.convert("L"), "JPEG"),
        encoded(rgb, "PNG"),
        encoded(deep, "PNG"),
        encoded(clear, "PNG"),
        encoded(rgb.convert("P"), "PNG", transparency=3),
        encoded(rgb.convert("1"), "PNG"),
        encoded(rgb, "WEBP"),
        encoded(clear, "WEBP", lossless=True),
        encoded(rgb, "WEBP", save_all=True, append_images=[rgb.rotate(90)]),
        encoded(rgb, "BMP"),
        encoded(rgb.convert("P"), "BMP"),
        encoded(rgb.convert("1"), "BMP"),
        encoded(rgb, "GIF"),
        encoded(rgb, "TIFF"),
        encoded(Image.new("RGB", (1, 1)), "PNG"),
        encoded(Image.new("RGB", (4000, 1)), "JPEG"),
    ]


_SEEDS = _seeds()
_KINDS: list[Make] = [
    *(_noise, _magic, _real, _flipped, _flipped, _flipped, _truncated, _truncated),
    *(_spliced, _stuffed, _lying, _bomb, _exif),
]
