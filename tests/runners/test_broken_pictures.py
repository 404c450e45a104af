"""Whatever bytes come: a picture, or one of three errors; never a crash, a warning or a big bill."""

from __future__ import annotations

import random
import struct
import tracemalloc
import warnings
import zlib

import pytest
from PIL import Image

from hotswap.errors import BadPicture, BadRequest, PictureTooLarge, UnsupportedPicture
from runners import decode as picture_module
from runners.formats import webp as webp_module
from runners.formats.webp import webp_size
from tests.runners.pictures import encode, exif, noise, read, smooth

LIMIT = 1_000_000

SEEDS = {
    "jpeg": encode(smooth(80, 60), "JPEG"),
    "progressive": encode(smooth(80, 60), "JPEG", progressive=True, exif=exif(6)),
    "cmyk": encode(Image.fromarray(smooth(40, 30)).convert("CMYK"), "JPEG"),
    "png": encode(noise(40, 30), "PNG", exif=exif(8)),
    "palette": encode(Image.fromarray(smooth(40, 30)).quantize(16), "PNG", transparency=b"\0\x80"),
    "apng": encode(
        Image.fromarray(noise(20, 20)), "PNG", save_all=True, append_images=[Image.new("RGB", (20, 20))]
    ),
    "webp": encode(smooth(80, 60), "WEBP", exif=exif(3)),
    "webp-lossless": encode(noise(40, 30), "WEBP", lossless=True),
    "webp-moving": encode(
        Image.fromarray(noise(20, 20)), "WEBP", save_all=True, append_images=[Image.new("RGB", (20, 20))]
    ),
    "bmp": encode(noise(40, 30), "BMP"),
    "bmp-palette": encode(Image.fromarray(smooth(40, 30)).quantize(16), "BMP"),
}


@pytest.mark.parametrize("name", SEEDS)
def test_a_truncated_picture_is_broken(name):
    data = SEEDS[name]
    # The last bytes of a PNG are a mere end mark, EXIF stands behind the pixels of a WebP, and later
    # frames are never read.
    end = len(data) // 2 if name in ("apng", "webp-moving") else len(data) - 80
    for length in {1, 2, 3, 9, 25, end // 3, end // 2, end}:
        with pytest.raises(BadPicture):
            read(data[:length])


@pytest.mark.parametrize("name", SEEDS)
@pytest.mark.parametrize("seed", range(60))
@pytest.mark.filterwarnings("ignore")
def test_mangled_pictures_give_a_picture_or_a_typed_error(name, seed):
    data = _mangled(SEEDS[name], random.Random(f"{name} {seed}"))
    try:
        decoded = read(data, max_pixels=LIMIT)
    except (BadPicture, PictureTooLarge, UnsupportedPicture):
        return
    assert decoded.image.mode == "RGB"
    assert decoded.width * decoded.height <= LIMIT


def _mangled(data: bytes, chance: random.Random) -> bytes:
    mangled = bytearray(data)
    for _ in range(chance.choice([1, 2, 5, 20])):
        at = chance.randrange(min(len(mangled), chance.choice([40, 200, 100_000])))
        action = chance.random()
        if action < 0.6:
            mangled[at] = chance.choice([0, 127, 128, 255, chance.randrange(256)])
        elif action < 0.8:
            del mangled[at + 1 : at + chance.randrange(2, 20)]
        else:
            mangled[at:at] = chance.randbytes(chance.randrange(1, 9))
    return bytes(mangled)


def test_nothing_at_all_is_broken():
    with pytest.raises(BadPicture, match="empty"):
        read(b"")


@pytest.mark.parametrize(
    "data", [b"hello", b"\0" * 100, b"BM", b"RIFF\0\0\0\0WAVE", b"\xff\xd8\xff", b"\x89PNG\r\n"]
)
def test_bytes_that_are_no_picture_are_broken(data):
    with pytest.raises(BadPicture):
        read(data)


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (encode(smooth(8, 8), "GIF"), "GIF"),
        (encode(smooth(8, 8), "TIFF"), "TIFF"),
        (encode(smooth(8, 8), "ICO"), "ICO"),
        (encode(smooth(8, 8), "PPM"), "PNM"),
        (b"\0\0\0\x10ftypmif1\0\0\0\0", "HEIF"),
        (b"\0\0\0\x20ftypmp42", "ISO media"),
        (b"%PDF-1.7", "PDF"),
        (b'<svg xmlns="">', "SVG"),
    ],
)
def test_other_formats_are_named_in_the_refusal(data, name):
    with pytest.raises(UnsupportedPicture, match=name):
        read(data)


def test_run_length_bitmaps_are_refused():
    data = bytearray(encode(Image.fromarray(smooth(8, 8)).quantize(16), "BMP"))
    data[30:34] = struct.pack("<I", 1)
    with pytest.raises(UnsupportedPicture, match="run-length"):
        read(bytes(data))


@pytest.mark.parametrize(
    ("kind", "options"),
    [("JPEG", {}), ("PNG", {}), ("WEBP", {}), ("WEBP", {"lossless": True}), ("BMP", {})],
)
def test_the_limit_is_on_pixels(kind, options):
    data = encode(smooth(100, 50), kind, **options)
    assert read(data, max_pixels=5000).width == 100
    with pytest.raises(PictureTooLarge, match="100x50 = 5000 pixels; at most 4999"):
        read(data, max_pixels=4999)


def _big_png() -> bytes:
    body = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    crc = struct.pack(">I", zlib.crc32(b"IHDR" + body))
    idat = struct.pack(">I", 0) + b"IDAT" + struct.pack(">I", zlib.crc32(b"IDAT"))
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + b"IHDR" + body + crc + idat


def _big_bmp() -> bytes:
    data = bytearray(encode(smooth(8, 8), "BMP"))
    data[18:26] = struct.pack("<II", 60_000, 60_000)
    return bytes(data)


def _big_webp() -> bytes:
    data = bytearray(SEEDS["webp"])
    assert data[12:16] == b"VP8X"
    data[24:30] = (16_000_000).to_bytes(3, "little") + (200).to_bytes(3, "little")
    return bytes(data)


@pytest.mark.parametrize("data", [_big_png(), _big_bmp(), _big_webp()], ids=["png", "bmp", "webp"])
def test_a_huge_size_is_refused_by_its_header_alone(data):
    tracemalloc.start()
    try:
        with pytest.raises(PictureTooLarge):
            read(data, max_pixels=100_000_000)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


def test_a_huge_webp_is_not_even_opened(monkeypatch):
    monkeypatch.setattr(webp_module, "WebPImageFile", None)
    with pytest.raises(PictureTooLarge, match="16000001x201"):
        read(_big_webp(), max_pixels=100_000_000)


@pytest.mark.parametrize(
    "options", [{}, {"lossless": True}, {"exif": exif(1)}, {"lossless": True, "exif": exif(1)}]
)
@pytest.mark.parametrize("size", [(1, 1), (100, 50), (129, 300), (5000, 3)])
def test_the_size_of_a_webp_stands_in_its_header(size, options):
    assert webp_size(encode(smooth(*size), "WEBP", **options)) == size


@pytest.mark.parametrize("length", [0, 12, 16, 29])
def test_a_cut_webp_header_tells_no_size(length):
    assert webp_size(SEEDS["webp"][:length]) is None


def test_a_jpeg_of_a_thousand_scans_is_refused():
    data = encode(smooth(400, 400), "JPEG", progressive=True)
    start = data.rindex(b"\xff\xda")
    scan = data[start:-2]
    read(data, max_pixels=200_000)
    with pytest.raises(BadPicture, match="scans"):
        read(data[:start] + scan * 1000 + b"\xff\xd9", max_pixels=200_000)


@pytest.mark.parametrize(
    ("raised", "error"),
    [
        (MemoryError(), PictureTooLarge),
        (Image.DecompressionBombError("bomb"), PictureTooLarge),
        (SyntaxError("odd"), BadPicture),
        (OSError("odd"), BadPicture),
        (struct.error("odd"), BadPicture),
        (zlib.error("odd"), BadPicture),
        (ValueError(), BadPicture),
        (KeyError(3), BadPicture),
        (OverflowError("odd"), BadPicture),
        (RecursionError("odd"), BadPicture),
    ],
)
def test_whatever_the_decoder_raises_is_told_in_our_words(monkeypatch, raised, error):
    def fail(file):
        raise raised

    monkeypatch.setitem(picture_module._OPEN, "PNG", fail)
    with pytest.raises(error) as caught:
        read(SEEDS["png"])
    assert type(caught.value) is error
    assert isinstance(caught.value, BadRequest)


def test_odd_metadata_makes_no_remarks():
    good = SEEDS["apng"]
    at = good.index(b"acTL")
    body = b"acTL" + b"\0" * 8
    data = good[:at] + body + struct.pack(">I", zlib.crc32(body)) + good[at + 16 :]
    with warnings.catch_warnings(record=True) as remarks:
        warnings.simplefilter("always")
        picture_module.quiet()
        read(data)
        read(encode(smooth(8, 8), "JPEG", exif=b"Exif\0\0II*\0\x08\0\0\0\xff\xff"))
    assert not remarks
