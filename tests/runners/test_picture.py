"""Every picture that a browser shows becomes the upright RGB pixels that the browser would show."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from hotswap.errors import BadPicture, PictureTooLarge
from hotswap.predictions import Picture
from runners.decode import dct_scale, decode
from tests.runners.pictures import NO_LIMIT, encode, exif, noise, pixels, read, smooth

# How the stored rows become the upright ones, by the EXIF standard's table and not by Pillow.
UPRIGHT = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.transpose(1, 0, 2),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
    8: np.rot90,
}


@pytest.mark.parametrize(("kind", "options"), [("PNG", {}), ("BMP", {}), ("WEBP", {"lossless": True})])
def test_lossless_formats_give_back_the_very_pixels(kind, options):
    picture = noise(37, 23)
    decoded = read(encode(picture, kind, **options))
    assert (decoded.width, decoded.height, decoded.image.mode) == (37, 23, "RGB")
    assert np.array_equal(pixels(decoded), picture)


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 0}])
def test_a_jpeg_gives_nearly_the_pixels(options):
    picture = smooth(64, 48)
    decoded = read(encode(picture, "JPEG", quality=95, **options))
    assert np.abs(pixels(decoded).astype(int) - picture).max() < 12


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "WEBP", "JPEG"])
def test_every_exif_orientation_ends_upright(kind, orientation):
    stored = smooth(40, 24)
    data = encode(stored, kind, exif=exif(orientation), quality=100)
    decoded, wanted = read(data), UPRIGHT[orientation](stored)
    assert (decoded.width, decoded.height) == (wanted.shape[1], wanted.shape[0])
    assert np.abs(pixels(decoded).astype(int) - wanted).max() < 24


@pytest.mark.parametrize(
    "block", [b"", b"II*\0", b"MM\0*\0\0\0\x08\0\x05", b"\0" * 40, b"II*\0\xff\xff\xff\xff"]
)
@pytest.mark.filterwarnings("ignore")  # outside tests `quiet` sees to it
def test_a_broken_exif_block_means_upright(block):
    data = encode(smooth(40, 24), "JPEG", exif=b"Exif\0\0" + block)
    assert read(data).image.size == (40, 24)


def test_an_orientation_out_of_range_means_upright():
    assert read(encode(smooth(40, 24), "JPEG", exif=exif(9))).image.size == (40, 24)


def test_grey_palette_and_bilevel_pictures_become_rgb():
    grey = Image.fromarray(noise(16, 16)).convert("L")
    palette = Image.fromarray(smooth(16, 16)).quantize(8)
    for image in (grey, palette, grey.convert("1")):
        for kind in ("PNG", "BMP"):
            assert np.array_equal(pixels(read(encode(image, kind))), np.asarray(image.convert("RGB")))
    assert read(encode(grey, "JPEG")).image.mode == "RGB"


def test_sixteen_bits_of_grey_keep_their_high_byte():
    grey = np.arange(0, 65536, 64, dtype=np.uint16).reshape(32, 32)
    decoded = pixels(read(encode(Image.fromarray(grey), "PNG")))
    assert np.array_equal(decoded, np.repeat((grey >> 8).astype(np.uint8)[..., None], 3, axis=2))


def test_sixteen_bits_a_colour_keep_their_high_byte():
    row = np.array([[0x0180, 0x80FF, 0xFF01]] * 4, dtype=">u2")
    data = _png(4, 4, depth=16, colour=2, rows=[b"\0" + row.tobytes()] * 4)
    assert pixels(read(data))[0, 0].tolist() == [0x01, 0x80, 0xFF]


def test_cmyk_jpegs_become_rgb():
    data = encode(Image.fromarray(smooth(32, 32)).convert("CMYK"), "JPEG", quality=95)
    assert np.abs(pixels(read(data)).astype(int) - smooth(32, 32)).max() < 24


def test_partly_transparent_pictures_lie_on_white():
    picture = np.zeros((2, 2, 4), dtype=np.uint8)
    picture[0, 0] = (200, 10, 20, 255)
    picture[0, 1] = (0, 0, 0, 128)
    decoded = pixels(read(encode(picture, "PNG")))
    assert decoded[0, 0].tolist() == [200, 10, 20]
    assert decoded[0, 1].tolist() == [127, 127, 127]
    assert decoded[1, 1].tolist() == [255, 255, 255]


def test_a_picture_without_any_alpha_set_keeps_its_colours():
    picture = np.dstack([noise(8, 8), np.zeros((8, 8), dtype=np.uint8)])
    for kind in ("PNG", "BMP"):
        assert np.array_equal(pixels(read(encode(picture, kind))), picture[..., :3])


def test_a_transparent_palette_entry_shows_white():
    image = Image.new("P", (4, 4), 1)
    image.putpalette([9, 9, 9, 50, 60, 70])
    image.putpixel((0, 0), 0)
    for transparency in (0, b"\0\xff"):
        decoded = pixels(read(encode(image, "PNG", transparency=transparency)))
        assert decoded[0, 0].tolist() == [255, 255, 255]
        assert decoded[1, 1].tolist() == [50, 60, 70]


def test_of_moving_pictures_the_first_counts():
    first, second = Image.fromarray(smooth(16, 16)), Image.new("RGB", (16, 16))
    for kind in ("WEBP", "PNG"):
        data = encode(first, kind, save_all=True, append_images=[second], lossless=True)
        assert np.array_equal(pixels(read(data)), smooth(16, 16))


def test_of_a_jpeg_with_a_second_picture_the_first_counts():
    first, second = Image.fromarray(smooth(64, 48)), Image.new("RGB", (8, 8))
    data = encode(first, "MPO", save_all=True, append_images=[second], quality=95)
    assert np.abs(pixels(read(data)).astype(int) - smooth(64, 48)).max() < 12


def _scale_by_trying(width, height, needed):
    """The promise, word for word."""
    for scale in (8, 4, 2):
        if (width + scale - 1) // scale >= 2 * needed[0] and (height + scale - 1) // scale >= 2 * needed[1]:
            return scale
    return 1


@pytest.mark.parametrize("seed", range(40))
def test_the_dct_scale_is_the_smallest_that_leaves_twice_the_input(seed):
    numbers = np.random.default_rng(seed)
    width, height = numbers.integers(1, 900, 2).tolist()
    needed = tuple(numbers.integers(1, 60, 2).tolist())
    scale = dct_scale((width, height), (2 * needed[0], 2 * needed[1]))
    assert scale == _scale_by_trying(width, height, needed)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("size", "needed", "scale"),
    [
        ((640, 480), (352, 352), 1),
        ((4000, 3000), (352, 352), 4),
        ((1600, 1600), (100, 100), 8),
        ((1593, 1600), (100, 100), 8),
        ((1592, 1600), (100, 100), 4),
        ((400, 4000), (100, 100), 2),
        ((400, 4000), (50, 500), 4),
        ((399, 400), (100, 100), 2),
        ((398, 400), (100, 100), 1),
    ],
)
@pytest.mark.parametrize("orientation", [1, 6])
def test_jpegs_are_decoded_at_that_scale_however_they_lie(size, needed, scale, orientation):
    upright = smooth(*size)
    stored = np.rot90(upright) if orientation == 6 else upright
    decoded = read(encode(stored, "JPEG", exif=exif(orientation)), needed)
    assert decoded.image.size == (-(-size[0] // scale), -(-size[1] // scale))
    assert (decoded.width, decoded.height) == size
    half = decoded.image.size[0] // 2, decoded.image.size[1] // 2
    wanted = upright[size[1] // 2, size[0] // 2].astype(int)
    assert np.abs(pixels(decoded)[half[1], half[0]] - wanted).max() < 16


def test_pixels_that_come_as_an_array_are_taken_as_they_are():
    picture = noise(20, 10)
    decoded = decode(Picture(pixels=picture), (32, 32), NO_LIMIT)
    assert (decoded.width, decoded.height) == (20, 10)
    assert np.array_equal(pixels(decoded), picture)


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((4, 4, 3)),
        np.zeros((4, 4), np.uint8),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((0, 4, 3), np.uint8),
    ],
)
def test_arrays_that_are_no_picture_are_refused(array):
    with pytest.raises(BadPicture, match="uint8"):
        decode(Picture(pixels=array), (32, 32), NO_LIMIT)


def test_an_array_over_the_limit_is_refused():
    with pytest.raises(PictureTooLarge):
        decode(Picture(pixels=noise(11, 10)), (32, 32), 100)


def _png(width: int, height: int, *, depth: int = 8, colour: int = 2, rows: list[bytes]) -> bytes:
    """A PNG by hand."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    data = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"".join(rows))) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + data
