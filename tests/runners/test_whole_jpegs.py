"""A JPEG is whole when its coded data are: its last bytes tell nothing."""

from __future__ import annotations

import os
import re
from base64 import b64decode
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hotswap.errors import BadPicture, UnsupportedPicture
from tests.runners.pictures import encode, exif, noise, pixels, read, smooth

EOI = b"\xff\xd9"
MOTIF = (smooth(200, 150) // 2 + noise(200, 150) // 8).astype(np.uint8)

# What Pillow does not write, 40x24, by cjpeg.
ARITHMETIC = b64decode(
    "/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAA0JCgsKCA0LCgsODg0PEyAVExISEyccHhcgLikxMC4pLSwzOko+MzZGNywtQFdB"
    "RkxOUlNSMj5aYVpQYEpRUk//2wBDAQ4ODhMREyYVFSZPNS01T09PT09PT09PT09PT09PT09PT09PT09PT09PT09PT09PT09P"
    "T09PT09PT09PT09PT0//yQARCAAYACgDASIAAhEBAxEB/8wACgAQEAUBEBEF/9oADAMBAAIRAxEAPwD/AJMcLpjY8eknQd3T"
    "nFzh2kbkr5aQbg+xrjuUNEfvPdWTI23CdMMwE6l2FBW/s2dQPf6uo0Unp++as06lsCQLPTut5r3T31Q2LpYF2RjqNd5f0Zlp"
    "Xc5IaWPvJbkmTZbIvK4Akjumiyaqu5mgGXyvkJgZAd5Lkbou9Cf6s5Qf2SJ9l0YyX/qIVYnsaRqFVuq+HDs6Yrqghz3GNgTj"
    "eMqjSubGoQZwWA4P2I3VK6xX2pSagGXfMeh2gP/Z"
)
SAMPLED_3X1 = b64decode(
    "/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAA0JCgsKCA0LCgsODg0PEyAVExISEyccHhcgLikxMC4pLSwzOko+MzZGNywtQFdB"
    "RkxOUlNSMj5aYVpQYEpRUk//2wBDAQ4ODhMREyYVFSZPNS01T09PT09PT09PT09PT09PT09PT09PT09PT09PT09PT09PT09P"
    "T09PT09PT09PT09PT0//wAARCAAYACgDATEAAhEBAxEB/8QAHwAAAQUBAQEBAQEAAAAAAAAAAAECAwQFBgcICQoL/8QAtRAA"
    "AgEDAwIEAwUFBAQAAAF9AQIDAAQRBRIhMUEGE1FhByJxFDKBkaEII0KxwRVS0fAkM2JyggkKFhcYGRolJicoKSo0NTY3ODk6"
    "Q0RFRkdISUpTVFVWV1hZWmNkZWZnaGlqc3R1dnd4eXqDhIWGh4iJipKTlJWWl5iZmqKjpKWmp6ipqrKztLW2t7i5usLDxMXG"
    "x8jJytLT1NXW19jZ2uHi4+Tl5ufo6erx8vP09fb3+Pn6/8QAHwEAAwEBAQEBAQEBAQAAAAAAAAECAwQFBgcICQoL/8QAtREA"
    "AgECBAQDBAcFBAQAAQJ3AAECAxEEBSExBhJBUQdhcRMiMoEIFEKRobHBCSMzUvAVYnLRChYkNOEl8RcYGRomJygpKjU2Nzg5"
    "OkNERUZHSElKU1RVVldYWVpjZGVmZ2hpanN0dXZ3eHl6goOEhYaHiImKkpOUlZaXmJmaoqOkpaanqKmqsrO0tba3uLm6wsPE"
    "xcbHyMnK0tPU1dbX2Nna4uPk5ebn6Onq8vP09fb3+Pn6/9oADAMBAAIRAxEAPwDgo7TParUdl7VbjsPaphD2h04SvYtx6f8A"
    "7NWk04AZYAfWitpYOnFXm0vXQ+kw+IdtCnDaZ7VoQ2XtVoW6xnG3LelLC1I06Tqy6HwuGrXaRPHayP7fTirEdiiY3YFFc0nB"
    "v2mJlq/X9D6bD1ny2RVt7TOOKvi28tBgfMelT29jxkisoy5qVOHd3+7/AIc+GwlbUspbsxwgwPXvViOzROCMt6CiuWpiEn7R"
    "xu3strI+mw1X3bXP/9k="
)
JPEGS = {
    "420": encode(MOTIF, "JPEG", subsampling="4:2:0"),
    "422": encode(MOTIF, "JPEG", subsampling="4:2:2"),
    "444": encode(MOTIF, "JPEG", subsampling="4:4:4"),
    "rgb": encode(MOTIF, "JPEG", keep_rgb=True),
    "progressive": encode(MOTIF, "JPEG", progressive=True),
    "restarts": encode(MOTIF, "JPEG", restart_marker_rows=1),
    "restart-each": encode(MOTIF, "JPEG", restart_marker_blocks=1),
    "progressive-restarts": encode(MOTIF, "JPEG", progressive=True, restart_marker_blocks=7),
    "grey": encode(Image.fromarray(MOTIF).convert("L"), "JPEG"),
    "grey-restarts": encode(Image.fromarray(MOTIF).convert("L"), "JPEG", restart_marker_blocks=3),
    "cmyk": encode(Image.fromarray(MOTIF).convert("CMYK"), "JPEG"),
    "cmyk-progressive": encode(Image.fromarray(MOTIF).convert("CMYK"), "JPEG", progressive=True),
    "arithmetic": ARITHMETIC,
    "sampled-3x1": SAMPLED_3X1,
}
PROGRESSIVE = [name for name in JPEGS if "progressive" in name]
RESTARTS = [name for name in JPEGS if "restart" in name]


def _by_pillow(data: bytes, scale: int = 1) -> np.ndarray:
    image = Image.open(BytesIO(data))
    if scale > 1:
        image.draft(None, (image.width // scale, image.height // scale))
    return np.asarray(image.convert("RGB"))


def _places(data: bytes, marker: bytes) -> list[int]:
    return [found.start() for found in re.finditer(marker, data)]


@pytest.mark.parametrize("name", JPEGS)
@pytest.mark.parametrize("end", [b"", EOI], ids=["cut", "cut, end mark"])
def test_a_jpeg_that_lacks_data_is_broken(name, end):
    data = JPEGS[name]
    for part in range(1, 16):
        with pytest.raises(BadPicture):
            read(data[: len(data) * part // 16] + end)


@pytest.mark.parametrize("name", JPEGS)
def test_headers_alone_are_no_picture(name):
    data = JPEGS[name]
    start = data.index(b"\xff\xda")
    after = start + 2 + int.from_bytes(data[start + 2 : start + 4], "big")
    for length in (start, after):
        with pytest.raises(BadPicture):
            read(data[:length] + EOI)


@pytest.mark.parametrize("name", JPEGS)
def test_the_end_mark_is_no_pixel(name):
    data, whole = JPEGS[name], _by_pillow(JPEGS[name])
    for other in (
        data,
        data[:-2],
        data[:-1],
        data[:-2] + b"\xff\xff",
        data + b"more" * 99,
        data[:-2] + b"\0" + EOI,
    ):
        assert np.array_equal(pixels(read(other, (2000, 2000))), whole)


@pytest.mark.parametrize("name", [name for name in JPEGS if name != "arithmetic"])
def test_bytes_to_spare_before_the_end_are_harmless(name):
    data, whole = JPEGS[name], _by_pillow(JPEGS[name])
    for spare in (b"\0", b"spare bytes of a webcam" * 9):
        assert np.array_equal(pixels(read(data[:-2] + spare + EOI, (2000, 2000))), whole)


# The last scan of the first has no data; zeros are not told apart where Pillow decodes the others.
@pytest.mark.parametrize(
    "name", [n for n in JPEGS if n not in ("cmyk-progressive", "arithmetic", "sampled-3x1")]
)
@pytest.mark.parametrize("end", [b"", EOI], ids=["to the end", "end mark"])
def test_zeros_in_the_place_of_data_are_no_data(name, end):
    data = JPEGS[name]
    scan = data.rindex(b"\xff\xda") + 20
    for part in range(1, 8):
        cut = data[: scan + (len(data) - scan) * part // 8]
        for zeros in (len(data) - len(cut), 300_000):
            with pytest.raises(BadPicture):
                read(cut + bytes(zeros) + end)


@pytest.mark.parametrize("name", [name for name in JPEGS if name != "arithmetic"])
def test_zeros_behind_whole_data_are_harmless(name):
    data = JPEGS[name]
    whole = pixels(read(data, (2000, 2000)))
    for filled in (data + bytes(5000), data[:-2] + bytes(5000), data[:-2] + bytes(5000) + EOI):
        assert np.array_equal(pixels(read(filled, (2000, 2000))), whole)


@pytest.mark.parametrize("name", PROGRESSIVE)
def test_every_scan_is_needed(name):
    data = JPEGS[name]
    scans = _places(data, b"\xff\xda")
    for scan, following in zip(scans, [*scans[1:], len(data) - 2], strict=True):
        with pytest.raises(BadPicture):
            read(data[:scan] + EOI)
        with pytest.raises(BadPicture):
            read(data[: (scan + following) // 2] + data[following:])


@pytest.mark.parametrize("name", RESTARTS)
def test_every_restart_marker_is_needed(name):
    data = JPEGS[name]
    markers = _places(data, rb"\xff[\xd0-\xd7]")
    for at in (markers[0], markers[len(markers) // 2], markers[-1]):
        with pytest.raises(BadPicture):
            read(data[:at] + data[at + 2 :])


@pytest.mark.parametrize("name", RESTARTS)
def test_bytes_to_spare_within_hide_nothing(name):
    data, whole = JPEGS[name], _by_pillow(JPEGS[name])
    at = _places(data, rb"\xff[\xd0-\xd7]")[1]
    spared = data[:at] + b"spare" + data[at:]
    assert np.array_equal(pixels(read(spared, (2000, 2000))), whole)
    later = spared[: at + 5 + (len(data) - at) * 3 // 4]
    with pytest.raises(BadPicture):
        read(later + spared[at + 5 + (len(data) - at) * 7 // 8 :])


@pytest.mark.parametrize("name", RESTARTS)
def test_bytes_to_spare_hide_no_restart_marker_out_of_order(name):
    data = bytearray(JPEGS[name])
    second, later = _places(data, rb"\xff[\xd0-\xd7]")[1:4:2]
    data[later + 1] = 0xD0 + (data[later + 1] + 3) % 8
    with pytest.raises(BadPicture, match="restart marker 3"):
        read(bytes(data[:second] + b"spare" + data[second:]))


@pytest.mark.parametrize("name", [name for name in JPEGS if len(JPEGS[name]) > 2000])
@pytest.mark.parametrize("part", [5, 8, 12])
def test_a_chunk_lost_in_the_middle_is_missed(name, part):
    data = JPEGS[name]
    at = len(data) * part // 16
    with pytest.raises(BadPicture):
        read(data[:at] + data[at + len(data) // 8 :])


@pytest.mark.parametrize("name", JPEGS)
@pytest.mark.parametrize("scale", [1, 2, 4, 8])
def test_the_pixels_are_pillows(name, scale):
    data = JPEGS[name]
    whole = _by_pillow(data)
    height, width, _ = whole.shape
    wanted = (width // scale // 2, height // scale // 2)
    decoded = read(data, wanted)
    assert (decoded.width, decoded.height) == (width, height)
    assert np.array_equal(pixels(decoded), _by_pillow(data, scale))


@pytest.mark.slow
@pytest.mark.skipif("OKAWARI_TEST_DATA" not in os.environ, reason="OKAWARI_TEST_DATA is not set")
@pytest.mark.parametrize("scale", [1, 2, 4, 8])
def test_the_pixels_of_photographs_are_pillows(scale):
    folder = Path(os.environ.get("OKAWARI_TEST_DATA", ""), "images")
    found = sorted(folder.rglob("*.jpg"))
    assert found
    for path in found:
        data = path.read_bytes()
        with Image.open(path) as image:
            wanted = (image.width // scale // 2, image.height // scale // 2)
        assert np.array_equal(pixels(read(data, wanted)), _by_pillow(data, scale)), path


def _segment(code: int, body: bytes) -> bytes:
    return bytes([0xFF, code]) + (len(body) + 2).to_bytes(2, "big") + body


METADATA = {
    "comments": _segment(0xFE, b"x" * 60_000) * 100,
    "empty-ones": _segment(0xEB, b"") * 100_000,
    "icc-of-many-parts": b"".join(
        _segment(0xE2, b"ICC_PROFILE\0" + bytes([part, 200]) + b"\xff" * 60_000) for part in range(1, 100)
    ),
    "icc-part-without-number": _segment(0xE2, b"ICC_PROFILE\0"),
    "broken-exif": _segment(0xE1, b"Exif\0\0MM\0*\xff\xff\xff\xff"),
    "huge-xmp": _segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + b"<" * 60_000) * 50,
    "broken-mpf": _segment(0xE2, b"MPF\0II*\0\xff\xff\xff\xff"),
    "broken-photoshop": _segment(0xED, b"Photoshop 3.0\x008BIM\x04\x04\0\0\xff\xff\xff\xff"),
    "revision": _segment(0xE0, b"JFIF\0\x09\x09\0\0\1\0\1\0\0"),
    "short-jfif": _segment(0xE0, b"JFIF\0"),
    "short-adobe": _segment(0xEE, b"Adobe"),
    "unheard-of-transform": _segment(0xEE, b"Adobe\0\x64\0\0\0\0\x09"),
    "fill-bytes": b"\xff" * 1000,
}


@pytest.mark.slow
@pytest.mark.parametrize("name", METADATA)
def test_metadata_decide_nothing(name):
    data, more = JPEGS["420"], METADATA[name]
    odd = data[:2] + more + data[2:]
    assert np.array_equal(pixels(read(odd, (2000, 2000))), _by_pillow(data))
    with pytest.raises(BadPicture):
        read(odd[: -len(data) // 2] + EOI)


@pytest.mark.parametrize("name", ["420", "restarts"])
def test_odd_parameters_of_a_sequential_scan_hide_nothing(name):
    data = bytearray(JPEGS[name])
    start = data.index(b"\xff\xda")
    end = start + 2 + int.from_bytes(data[start + 2 : start + 4], "big")
    data[end - 3 : end] = bytes(3)
    assert np.array_equal(pixels(read(bytes(data), (2000, 2000))), _by_pillow(JPEGS[name]))
    with pytest.raises(BadPicture):
        read(bytes(data[: len(data) // 2]) + EOI)


def test_a_bit_error_that_the_decoder_sees_is_refused():
    data = bytearray(JPEGS["420"])
    # Far from the end libjpeg-turbo takes a quicker way, which looks for none.
    at = len(data) - 80
    data[at : at + 40] = b"\xff\0" * 20
    with pytest.raises(BadPicture, match="Huffman"):
        read(bytes(data))


def test_the_colours_that_adobe_names_are_kept():
    data = JPEGS["rgb"]
    assert b"Adobe" in data
    assert np.abs(pixels(read(data, (2000, 2000))).astype(int) - MOTIF).mean() < 10


def test_the_first_exif_block_tells_how_a_jpeg_lies():
    data = encode(smooth(40, 24), "JPEG", exif=exif(6))
    assert read(data).image.size == (24, 40)


@pytest.mark.parametrize("code", [0xC0, 0xC2])
def test_other_depths_are_named(code):
    data = bytearray(JPEGS["420"])
    at = data.index(b"\xff\xc0")
    data[at + 1], data[at + 4] = code, 12
    with pytest.raises(UnsupportedPicture, match="12 bits"):
        read(bytes(data))
