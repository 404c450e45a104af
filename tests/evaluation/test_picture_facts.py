"""Camera, hour and brightness of a picture; its small copy."""

from __future__ import annotations

import base64
from io import BytesIO

import pytest
from PIL import Image

from evaluation.picture_facts import PictureFacts, picture_facts, thumbnail
from hotswap.errors import BadPicture

_MAKE, _MODEL, _EXIF, _TAKEN, _CHANGED, _ORIENTATION = 0x010F, 0x0110, 0x8769, 0x9003, 0x0132, 0x0112


def _jpeg(luma: int, size: tuple[int, int] = (200, 100), **tags: str | int) -> bytes:
    exif = Image.Exif()
    for tag, name in (
        (_MAKE, "make"),
        (_MODEL, "model"),
        (_CHANGED, "changed"),
        (_ORIENTATION, "orientation"),
    ):
        if name in tags:
            exif[tag] = tags[name]
    if "taken" in tags:
        exif.get_ifd(_EXIF)[_TAKEN] = tags["taken"]
    file = BytesIO()
    Image.new("RGB", size, (luma,) * 3).save(file, "JPEG", exif=exif)
    return file.getvalue()


def test_camera_and_hour_are_those_of_exif() -> None:
    data = _jpeg(200, make="Acme", model="C 1", taken="2026:11:30 23:59:01")
    facts = picture_facts("garden/p.jpg", data, 10**6)
    assert (facts.camera, facts.hour, facts.brightness) == ("Acme C 1", 23, "bright")
    assert picture_facts("p.jpg", _jpeg(120, changed="2026:11:30 05:00:00"), 10**6).hour == 5


@pytest.mark.parametrize(("luma", "word"), [(0, "dark"), (84, "dark"), (100, "medium"), (180, "bright")])
def test_without_exif_the_folder_is_the_camera(luma: int, word: str) -> None:
    assert picture_facts("site/cam-2/p.jpg", _jpeg(luma), 10**6).brightness == word
    assert picture_facts("site/cam-2/p.jpg", _jpeg(luma), 10**6).camera == "cam-2"
    assert picture_facts("p.jpg", _jpeg(luma), 10**6) == PictureFacts("unknown", None, luma)


@pytest.mark.parametrize("taken", ["yesterday", "2026:11:30 77:00:00", ""])
def test_odd_times_are_no_times(taken: str) -> None:
    assert picture_facts("p.jpg", _jpeg(50, taken=taken), 10**6).hour is None


def test_the_small_copy_is_upright_and_a_data_url() -> None:
    url, width, height = thumbnail(_jpeg(50, (2000, 1000), orientation=6), 400, 60, 10**7)
    assert (width, height) == (200, 400)
    with Image.open(BytesIO(base64.b64decode(url.removeprefix("data:image/jpeg;base64,")))) as small:
        assert small.size == (200, 400)
        assert not small.getexif()
    with pytest.raises(BadPicture):
        thumbnail(b"no picture", 400, 60, 10**7)
