"""A PNG is whole when its rows are; only what pixels depend on decides."""

from __future__ import annotations

import struct
import tracemalloc
import zlib
from io import BytesIO
from typing import Any

import numpy as np
import png
import pytest
from numpy.typing import NDArray

from hotswap.errors import BadPicture
from runners.image_header import orientation
from tests.runners.pictures import encode, exif, pixels, read, smooth

WIDTH, HEIGHT = 37, 29
END = (b"IEND", b"")
CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
KINDS = [
    (colour, depth, interlaced, transparent)
    for colour, depths in {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}.items()
    for depth in depths
    for interlaced in (False, True)
    for transparent in ((False, True) if colour in (0, 2, 3) else (False,))
]


def chunk(kind: bytes, body: bytes, wrong: int = 0) -> bytes:
    """A chunk; its checksum is wrong in the bits of `wrong`."""
    crc = zlib.crc32(kind + body) ^ wrong
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", crc)


def built(*chunks: tuple[bytes, bytes] | tuple[bytes, bytes, int]) -> bytes:
    """A PNG of these chunks."""
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*each) for each in chunks)


def taken_apart(data: bytes) -> list[tuple[bytes, bytes]]:
    """Kind and body of every chunk."""
    at, found = 8, []
    while at < len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        found.append((kind, data[at + 8 : at + 8 + length]))
        at += 12 + length
    return found


def _options(colour: int, depth: int, transparent: bool, values: NDArray[Any]) -> dict[str, Any]:
    if colour == 3:
        alpha = [(index * 30,) if transparent else () for index in range(8)]
        return {"palette": [(i * 30, 255 - i * 20, i * 7, *alpha[i]) for i in range(min(8, 1 << depth))]}
    options: dict[str, Any] = {"greyscale": colour in (0, 4), "alpha": colour in (4, 6)}
    if transparent:
        one = values[5, : CHANNELS[colour]].tolist()
        options["transparent"] = one[0] if colour == 0 else tuple(one)
    return options


def _made(colour: int, depth: int, interlaced: bool, transparent: bool) -> bytes:
    """A PNG by another writer, with one colour in many places: the transparent one, where there is one."""
    chance, channels = np.random.default_rng(depth), CHANNELS[colour]
    values = chance.integers(0, min(1 << depth, 8 if colour == 3 else 1 << depth), (HEIGHT, WIDTH * channels))
    values[5:15] = np.tile(values[5, :channels], WIDTH)
    options = _options(colour, depth, transparent, values)
    file = BytesIO()
    png.Writer(WIDTH, HEIGHT, bitdepth=depth, interlace=interlaced, **options).write(file, values.tolist())
    return file.getvalue()


def _seen(data: bytes) -> NDArray[Any]:
    """What another reader finds, laid on white."""
    reader = png.Reader(bytes=data)
    reader.preamble()
    direct = reader.plte is not None
    width, height, rows, info = reader.asDirect() if direct else reader.read()
    values = np.array([list(row) for row in rows]).reshape(height, width, -1)
    depth = info["bitdepth"]
    if "transparent" in info:
        alpha = np.where((values == np.array(info["transparent"]).reshape(-1)).all(2), 0, 255)
    elif values.shape[2] in (2, 4):
        alpha, values = _eight(values[..., -1], depth), values[..., :-1]
    else:
        alpha = np.full((height, width), 255)
    colours = np.broadcast_to(_eight(values, depth), (height, width, 3))
    return np.rint((colours * alpha[..., None] + 255 * (255 - alpha[..., None])) / 255)


def _eight(values: NDArray[Any], depth: int) -> NDArray[Any]:
    return values >> 8 if depth == 16 else values * 255 // ((1 << depth) - 1)


PNGS = {f"{c}-{d}{'-adam7' * i}{'-transparent' * t}": _made(c, d, i, t) for c, d, i, t in KINDS}


@pytest.mark.parametrize("name", PNGS)
def test_every_kind_of_png_is_seen_as_others_see_it(name):
    assert np.abs(pixels(read(PNGS[name])).astype(int) - _seen(PNGS[name])).max() <= 1


def test_sixteen_bits_are_compared_to_the_last():
    grey = np.full((8, 8), 0x1234, ">u2")
    grey[:, 4:] = 0x1235
    header = struct.pack(">IIBBBBB", 8, 8, 16, 0, 0, 0, 0)
    data = (b"IDAT", zlib.compress(b"".join(b"\0" + row.tobytes() for row in grey)))
    found = pixels(read(built((b"IHDR", header), (b"tRNS", b"\x12\x34"), data, END)))
    assert (found[0, 0, 0], found[0, 7, 0]) == (255, 0x12)
    rgb = np.repeat(grey[..., None], 3, axis=2)
    header = struct.pack(">IIBBBBB", 8, 8, 16, 2, 0, 0, 0)
    data = (b"IDAT", zlib.compress(b"".join(b"\0" + row.tobytes() for row in rgb)))
    found = pixels(read(built((b"IHDR", header), (b"tRNS", b"\x12\x34" * 3), data, END)))
    assert (found[0, 0, 0], found[0, 7, 0]) == (255, 0x12)


@pytest.mark.parametrize("name", PNGS)
@pytest.mark.parametrize("end", [b"", chunk(*END)], ids=["cut", "cut, end mark"])
def test_a_png_that_lacks_data_is_broken(name, end):
    data = PNGS[name]
    # The last 30 bytes are end mark, checksums, and the end of the packed rows.
    for length in {len(data) * part // 16 for part in range(1, 16)}:
        if length < len(data) - 30:
            with pytest.raises(BadPicture):
                read(data[:length] + end)


@pytest.mark.parametrize("name", PNGS)
def test_a_png_that_lacks_rows_is_broken_though_all_checksums_are_right(name):
    chunks = taken_apart(PNGS[name])
    before = [each for each in chunks if each[0] not in (b"IDAT", b"IEND")]
    rows = zlib.decompress(b"".join(body for kind, body in chunks if kind == b"IDAT"))
    for length in (0, 1, len(rows) // 2, len(rows) - 1):
        with pytest.raises(BadPicture, match="bytes of its rows"):
            read(built(*before, (b"IDAT", zlib.compress(rows[:length])), END))


@pytest.mark.parametrize("name", PNGS)
def test_what_is_no_row_is_not_missed(name):
    data, whole = PNGS[name], pixels(read(PNGS[name]))
    chunks = taken_apart(data)
    before = [each for each in chunks if each[0] not in (b"IDAT", b"IEND")]
    packed = b"".join(body for kind, body in chunks if kind == b"IDAT")
    rows = zlib.decompress(packed)
    for other in (
        data[:-12],
        data[:-5],
        data[:-16],
        data[:-20],
        data + b"more" * 9,
        built(*before, (b"IDAT", zlib.compress(rows + b"more" * 99)), END),
        built(*before, (b"IDAT", packed + b"more"), END),
        built(*before, *((b"IDAT", packed[at : at + 1]) for at in range(len(packed))), END),
        built(*before, (b"IDAT", b""), (b"IDAT", packed), (b"IDAT", b""), (b"zzZz", b"\0"), END),
    ):
        assert np.array_equal(pixels(read(other)), whole)


@pytest.mark.slow
def test_a_big_png_is_passed_on_piece_by_piece():
    picture = np.random.default_rng(0).integers(0, 256, (700, 900, 3), dtype=np.uint8)
    data = encode(picture, "PNG")
    assert np.array_equal(pixels(read(data)), picture)
    for part in range(1, 16):
        with pytest.raises(BadPicture):
            read(data[: len(data) * part // 16])


_CHUNKS = taken_apart(PNGS["2-8"])
HEADER, ROWS = _CHUNKS[0], next(each for each in _CHUNKS if each[0] == b"IDAT")
WHOLE = pixels(read(PNGS["2-8"]))
ASIDE = {
    "physical": (b"pHYs", struct.pack(">IIB", 2835, 2835, 1)),
    "text": (b"tEXt", b"Software\0scanner"),
    "packed-text": (b"zTXt", b"Comment\0\0" + zlib.compress(b"a" * 3_000_000)),
    "packed-nonsense": (b"zTXt", b"Comment\0\0nonsense"),
    "utf8-text": (b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(b"a" * 3_000_000)),
    "unpacked-text": (b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + b"a" * 3_000_000),
    "profile": (b"iCCP", b"icc\0\0" + zlib.compress(b"a" * 3_000_000)),
    "profile-nonsense": (b"iCCP", b""),
    "gamma": (b"gAMA", struct.pack(">I", 45455)),
    "gamma-cut": (b"gAMA", b""),
    "exif-nonsense": (b"eXIf", b"MM\0*\xff\xff\xff\xff"),
    "animation": (b"acTL", b"\0" * 3),
    "frame": (b"fcTL", b""),
    "standard": (b"sRGB", b"\x09"),
    "private": (b"prVt", b"anything"),
    "palette-proposed": (b"sPLT", b"x"),
    "transparent-of-odd-length": (b"tRNS", b"\0\1\2"),
}


@pytest.mark.parametrize("name", ASIDE)
@pytest.mark.parametrize("wrong", [0, 1], ids=["right", "wrong checksum"])
def test_chunks_that_no_pixel_depends_on_decide_nothing(name, wrong):
    for chunks in ([HEADER, (*ASIDE[name], wrong), ROWS, END], [HEADER, ROWS, (*ASIDE[name], wrong), END]):
        assert np.array_equal(pixels(read(built(*chunks))), WHOLE)


@pytest.mark.parametrize("palette", [(b"PLTE", bytes(5)), (b"PLTE", bytes(900)), (b"PLTE", bytes(6), 1)])
def test_a_palette_that_no_pixel_depends_on_may_be_damaged(palette):
    assert np.array_equal(pixels(read(built(HEADER, palette, ROWS, END))), WHOLE)


def test_transparency_with_a_wrong_checksum_is_passed_over():
    one = struct.pack(">3H", *WHOLE[5, 0].tolist())
    assert not np.array_equal(pixels(read(built(HEADER, (b"tRNS", one), ROWS, END))), WHOLE)
    assert np.array_equal(pixels(read(built(HEADER, (b"tRNS", one, 1), ROWS, END))), WHOLE)


@pytest.mark.parametrize(
    "chunks",
    [
        [(*HEADER, 1), ROWS, END],
        [HEADER, (*ROWS, 1), END],
        [(*each, 1) if each[0] == b"PLTE" else each for each in taken_apart(PNGS["3-8"])],
        [each for each in taken_apart(PNGS["3-8"]) if each[0] != b"PLTE"],
        [HEADER, (b"IDAT", ROWS[1][:-1] + bytes([ROWS[1][-1] ^ 1])), END],
        [HEADER, (b"IDAT", ROWS[1][:99] + bytes([ROWS[1][99] ^ 9]) + ROWS[1][100:]), END],
        [HEADER, (b"IDAT", ROWS[1][:99]), (b"tEXt", b"a\0b"), (b"IDAT", ROWS[1][99:]), END],
        [HEADER, (b"NEED", b""), ROWS, END],
        [HEADER, END, ROWS],
        [ROWS, HEADER, END],
        [(b"IHDR", HEADER[1][:8] + b"\x03" + HEADER[1][9:]), ROWS, END],
        [(b"IHDR", bytes(8) + HEADER[1][8:]), ROWS, END],
    ],
    ids=[
        "header",
        "rows",
        "palette",
        "no-palette",
        "adler",
        "bit",
        "gap",
        "unheard-of",
        "no-rows",
        "order",
        "depth",
        "nothing",
    ],
)
def test_damage_where_pixels_depend_on_it_is_refused(chunks):
    with pytest.raises(BadPicture):
        read(built(*chunks))


@pytest.mark.parametrize("place", ["before", "after"])
def test_the_orientation_stands_before_or_after_the_rows(place):
    block = (b"eXIf", encode(smooth(2, 2), "PNG", exif=exif(6)).partition(b"eXIf")[2][:26])
    assert orientation(block[1]) == 6
    chunks = [HEADER, block, ROWS, END] if place == "before" else [HEADER, ROWS, block, END]
    assert read(built(*chunks)).image.size == (HEIGHT, WIDTH)
    assert read(built(*((*each, 1) if each is block else each for each in chunks))).image.size == (
        WIDTH,
        HEIGHT,
    )


def _bomb() -> bytes:
    packer = zlib.compressobj(9)
    return b"".join(packer.compress(bytes(1_000_000)) for _ in range(250)) + packer.flush()


@pytest.mark.slow
def test_bombs_are_not_unpacked():
    packed = _bomb()
    kinds = ((b"zTXt", b"k\0\0"), (b"iTXt", b"k\0\1\0\0\0"), (b"iCCP", b"k\0\0"))
    chunks = [(kind, start + packed) for kind, start in kinds for _ in range(9)]
    data = built(HEADER, *chunks, ROWS, *chunks, (b"IDAT", packed), END)
    assert len(data) > 10_000_000
    tracemalloc.start()
    try:
        assert np.array_equal(pixels(read(data)), WHOLE)
        assert tracemalloc.get_traced_memory()[1] < 5_000_000  # a profile of 1 MB is read
        # More rows than the header asks for are not unpacked either.
        assert read(built(HEADER, (b"IDAT", packed), END)).width == WIDTH
        assert tracemalloc.get_traced_memory()[1] < 5_000_000
    finally:
        tracemalloc.stop()
