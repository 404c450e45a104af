"""WebP, BMP, AVIF and HEIC: whole when the pixels are there; metadata decide nothing."""

from __future__ import annotations

import struct
import sys

import numpy as np
import pillow_heif
import pytest
from PIL import Image, ImageCms, features

from hotswap.errors import BadPicture, PictureTooLarge, UnsupportedPicture
from runners.image_header import sniff
from tests.runners.pictures import encode, exif, noise, pixels, read, smooth

MOTIF = (smooth(200, 150) // 2 + noise(200, 150) // 8).astype(np.uint8)
SHEER = Image.fromarray(MOTIF)
SHEER.putalpha(Image.fromarray(smooth(200, 150)[..., 0]))
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
MORE = {"save_all": True, "append_images": [Image.new("RGB", (200, 150))]}


def _heic(image: Image.Image, **options: object) -> bytes:
    pillow_heif.register_heif_opener()
    return encode(image, "HEIF", **options)


WEBPS = {
    "lossy": encode(MOTIF, "WEBP"),
    "lossless": encode(MOTIF, "WEBP", lossless=True),
    "alpha": encode(SHEER, "WEBP"),
    "alpha-lossless": encode(SHEER, "WEBP", lossless=True),
    "alpha-quantized": encode(SHEER, "WEBP", alpha_quality=50),
    "moving": encode(MOTIF, "WEBP", **MORE),
}
BMPS = {
    "rgb": encode(MOTIF, "BMP"),
    "rgb-padded": encode(MOTIF[:, :149], "BMP"),
    "rgba": encode(SHEER, "BMP"),
    "palette": encode(Image.fromarray(MOTIF[:, :149]).quantize(16), "BMP"),
    "grey": encode(Image.fromarray(MOTIF[:, :149]).convert("L"), "BMP"),
    "bilevel": encode(Image.fromarray(MOTIF).convert("1"), "BMP"),
}
HEICS = {"heic": _heic(Image.fromarray(MOTIF)), "heic-alpha": _heic(SHEER)}
AVIFS = (
    {
        "avif": encode(MOTIF, "AVIF"),
        "avif-444": encode(MOTIF, "AVIF", subsampling="4:4:4"),
        "avif-alpha": encode(SHEER, "AVIF"),
        "avif-moving": encode(MOTIF, "AVIF", **MORE),
    }
    if features.check("avif")
    else {}
)
ISO = HEICS | AVIFS
ALL = WEBPS | BMPS | ISO


def test_the_last_byte_of_a_lossless_webp_is_missed() -> None:
    data = encode(noise(23, 17), "WEBP", lossless=True)
    for cut in (1, 2, 9):
        with pytest.raises(BadPicture):
            read(data[:-cut])


@pytest.mark.parametrize("name", ALL)
def test_a_picture_that_lacks_data_is_broken(name):
    data = ALL[name]
    # Later frames are never read.
    end = data.rindex(b"ANMF") if name == "moving" else len(data)
    for part in range(1, 16):
        with pytest.raises(BadPicture):
            read(data[: end * part // 16])


@pytest.mark.parametrize("name", WEBPS)
def test_a_webp_that_lacks_data_is_broken_though_its_sizes_agree(name):
    data = WEBPS[name]
    end = data.rindex(b"ANMF") if name == "moving" else len(data)
    for part in range(1, 16):
        with pytest.raises(BadPicture):
            read(_agreeing(data[: end * part // 16]))


def _agreeing(cut: bytes) -> bytes:
    """The WebP with the sizes of file and last chunk that it has left."""
    data, at = bytearray(cut), 12
    while at + 8 <= len(data):
        length = min(int.from_bytes(data[at + 4 : at + 8], "little"), len(data) - at - 8)
        data[at + 4 : at + 8] = struct.pack("<I", length)
        at += 8 + length + length % 2
    data[4:8] = struct.pack("<I", max(len(data) - 8, 0))
    return bytes(data)


@pytest.mark.parametrize("name", ALL)
def test_what_follows_a_picture_is_nothing(name):
    assert np.array_equal(pixels(read(ALL[name] + b"more" * 99)), pixels(read(ALL[name])))


@pytest.mark.parametrize("name", BMPS)
def test_only_the_padding_of_the_last_row_may_be_missing(name):
    data = BMPS[name]
    whole = read(data)
    bits = int.from_bytes(data[28:30], "little")
    padding = -(whole.width * bits // -8) % -4 * -1
    for missing in range(padding + 1):
        assert np.array_equal(pixels(read(data[: len(data) - missing])), pixels(whole))
    with pytest.raises(BadPicture, match="truncated"):
        read(data[: len(data) - padding - 1])


@pytest.mark.parametrize("name", ["lossy", "lossless", "alpha"])
@pytest.mark.parametrize("kind", [b"EXIF", b"XMP ", b"ICCP", b"WHAT"])
@pytest.mark.parametrize("body", [b"", b"nonsense", b"MM\0*\xff\xff\xff\xff", bytes(3_000_000)])
def test_metadata_of_a_webp_decide_nothing(name, kind, body):
    data = WEBPS[name]
    aside = kind + struct.pack("<I", len(body)) + body + b"\0" * (len(body) % 2)
    for odd in (data + aside, data + aside[:-3], data[:12] + aside + data[12:]):
        assert np.array_equal(pixels(read(odd)), pixels(read(data)))


def test_exif_that_is_cut_off_behind_the_pixels_is_not_missed():
    data = encode(MOTIF, "WEBP", exif=exif(6), icc_profile=b"x" * 999, xmp=b"y" * 999)
    assert read(data).image.size == (150, 200)
    assert read(data[: data.index(b"EXIF")]).image.size == (200, 150)


@pytest.mark.parametrize("name", ISO)
def test_iso_files_give_nearly_the_pixels(name):
    decoded = read(ISO[name])
    assert (decoded.width, decoded.height, decoded.image.mode) == (200, 150, "RGB")
    if "alpha" not in name:
        assert np.abs(pixels(decoded).astype(int) - MOTIF).mean() < 10
    else:
        assert pixels(decoded)[:, 0].min() > 240
        assert np.abs(pixels(decoded)[:, -1].astype(int) - MOTIF[:, -1]).mean() < 15


@pytest.mark.parametrize("name", ISO)
def test_iso_files_are_measured_by_their_header(name):
    with pytest.raises(PictureTooLarge, match="200x150 = 30000 pixels; at most 29999"):
        read(ISO[name], max_pixels=29_999)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["AVIF", "HEIF"])
def test_iso_files_end_upright(kind, orientation):
    if kind == "AVIF" and not features.check("avif"):
        pytest.skip("this Pillow reads no AVIF")
    upright = pixels(read(encode(smooth(40, 24), "PNG", exif=exif(orientation))))
    decoded = read(encode(smooth(40, 24), kind, exif=exif(orientation).tobytes(), quality=95))
    assert (decoded.width, decoded.height) == (upright.shape[1], upright.shape[0])
    assert np.abs(pixels(decoded).astype(int) - upright).mean() < 12


@pytest.mark.parametrize(
    ("brands", "kind"),
    [
        ([b"avif"], "AVIF"),
        ([b"avis", b"mif1"], "AVIF"),
        ([b"mif1", b"miaf", b"avif"], "AVIF"),
        ([b"heic"], "HEIC"),
        ([b"heix", b"mif1"], "HEIC"),
        ([b"mif1", b"heic"], "HEIC"),
        ([b"msf1", b"hevc"], "HEIC"),
    ],
)
def test_the_kind_of_an_iso_file_stands_among_its_brands(brands, kind):
    box = b"ftyp" + brands[0] + bytes(4) + b"".join(brands)
    assert sniff(struct.pack(">I", len(box) + 4) + box) == kind


def test_heic_without_its_extra_is_named_with_what_to_do(monkeypatch):
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(UnsupportedPicture, match=r"okawari\[heif\]"):
        read(HEICS["heic"])


def test_avif_without_its_decoder_is_named(monkeypatch):
    monkeypatch.setattr(features, "check", lambda feature: False)
    with pytest.raises(UnsupportedPicture, match="AVIF"):
        read(b"\0\0\0\x20ftypavif")


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "AVIF", "HEIF", "BMP"])
def test_the_colour_profile_goes_with_the_pixels(kind):
    if kind == "AVIF" and not features.check("avif"):
        pytest.skip("this Pillow reads no AVIF")
    profile = np.random.default_rng(0).bytes(150_000) if kind == "JPEG" else SRGB
    found = read(encode(MOTIF, kind, icc_profile=profile)).image.info["icc_profile"]
    assert found == (b"" if kind == "BMP" else profile)
