"""What a model found stands on the picture where the model found it, in every format and size."""

from __future__ import annotations

import math
import subprocess
import sys
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from hotswap.errors import BadPicture, PictureTooLarge, UnsupportedPicture
from hotswap.runner import Box, Detection, Picture, Prediction
from runners import lettering
from runners.draw import MEDIA_TYPES, Drawn, annotated, pixels
from runners.labels import Labels, Sizes, panel
from runners.palette import BLACK, GREY, WHITE, colour_of, contrast, text_on
from tests.runners.pictures import NO_LIMIT, encode, exif, noise, smooth

ROOT = Path(__file__).parents[2]
PAPER = (120, 120, 120)
# Sizes at which a picture is tiny, odd, usual, and as a telephone makes it.
SIZES = [(1, 1), (3, 200), (64, 48), (640, 480), (4000, 3000)]


def found(label: str, box: Box | None, score: float = 0.9, label_id: int = 0) -> Detection:
    return Detection(label, label_id, score, box)


def draw(data: bytes, *detections: Detection, media_type: str = "image/png") -> NDArray[np.uint8]:
    """The pixels [height, width, 3] of the picture with what was found."""
    return opened(drawn(data, *detections, media_type=media_type))


def drawn(data: bytes, *detections: Detection, media_type: str = "image/png") -> Drawn:
    return annotated(Picture(encoded=data), Prediction(detections, "v1", 1, 1), [media_type], NO_LIMIT)


def opened(file: Drawn) -> NDArray[np.uint8]:
    image = Image.open(BytesIO(file.data))
    assert (image.get_format_mimetype(), image.mode) == (file.media_type, "RGB")
    return np.asarray(image)


def paper(width: int, height: int, kind: str = "PNG") -> bytes:
    return encode(Image.new("RGB", (width, height), PAPER), kind)


def changed(after: NDArray[np.uint8], before: tuple[int, int, int] = PAPER) -> NDArray[np.bool_]:
    """Which pixels [height, width] are no longer what they were."""
    return (after != np.array(before, np.uint8)).any(axis=2)


class TestBoxes:
    def test_a_frame_stands_where_the_box_says_and_nothing_else_but_its_label_changes(self) -> None:
        after = draw(paper(400, 300), found("cat", (0.25, 0.3, 0.75, 0.8)))
        sizes = Sizes.of(400, 300)
        frame = np.zeros((300, 400), bool)
        frame[90:240, 100:300] = True
        frame[90 + sizes.line : 240 - sizes.line, 100 + sizes.line : 300 - sizes.line] = False
        assert (after[frame] == colour_of("cat")).all()
        label = np.zeros_like(frame)
        label[90 - sizes.row : 90, 100:300] = True
        marks = changed(after)
        assert (marks & ~frame & ~label).sum() == 0
        assert (marks & label).any()

    def test_the_best_lies_on_top(self) -> None:
        box = (0.2, 0.5, 0.8, 0.9)
        after = draw(paper(200, 200), found("cat", box, 0.9), found("dog", box, 0.1))
        assert tuple(after[179, 100]) == colour_of("cat")

    @pytest.mark.parametrize("size", SIZES[2:])
    def test_a_small_box_keeps_what_it_shows(self, size: tuple[int, int]) -> None:
        width, height = size
        box = (0.5, 0.5, 0.5 + 6 / width, 0.5 + 6 / height)
        after = draw(paper(*size), found("cat", box))
        x, y = width // 2, height // 2
        assert tuple(after[y, x]) == colour_of("cat")
        assert tuple(after[y + 3, x + 3]) == PAPER

    def test_a_thick_frame_has_a_hair_of_black_or_white(self) -> None:
        after = draw(paper(4000, 3000), found("cat", (0.2, 0.2, 0.8, 0.8)))
        line = Sizes.of(4000, 3000).line
        assert line >= 8
        assert tuple(after[1500, 800 + line - 1]) == colour_of("cat")
        assert tuple(after[1500, 800 + line]) == text_on(colour_of("cat"))

    @given(st.tuples(*[st.floats(width=32)] * 4), st.integers(1, 60), st.integers(1, 60))
    def test_no_number_leads_out_of_the_picture(self, box: Box, width: int, height: int) -> None:
        left, top, right, bottom = pixels(box, Sizes.of(width, height))
        assert 0 <= left < right <= width
        assert 0 <= top < bottom <= height

    def test_a_thousand_boxes_are_drawn(self) -> None:
        rng = np.random.default_rng(0)
        boxes = np.sort(rng.random((1000, 2, 2)), axis=1).reshape(1000, 4).tolist()
        many = [found(f"label {i % 80}", tuple(box), 1 - i / 1000) for i, box in enumerate(boxes)]
        assert changed(draw(paper(640, 480), *many)).mean() > 0.5


class TestLabels:
    @settings(max_examples=60)
    @given(
        st.sampled_from([(64, 48), (48, 64), (30, 30), (640, 480), (2000, 50)]),
        st.lists(st.tuples(st.tuples(*[st.floats(0, 1)] * 4), st.text(max_size=90)), min_size=1, max_size=40),
    )
    def test_all_stand_inside_and_none_over_another(
        self, size: tuple[int, int], given_boxes: list[tuple[Box, str]]
    ) -> None:
        sizes = Sizes.of(*size)
        rows = panel([found("whole", None)] * 3, sizes)
        labels = Labels(sizes, rows)
        tags = [labels.beside(found(text, box), pixels(box, sizes)) for box, text in given_boxes]
        areas = [tag.area for tag in (*rows, *tags) if tag is not None]
        cover = np.zeros((size[1], size[0]), int)
        for left, top, right, bottom in areas:
            assert 0 <= left < right <= size[0]
            assert 0 <= top < bottom <= size[1]
            cover[top:bottom, left:right] += 1
        assert cover.max() == 1
        for tag in (*rows, *tags):
            if tag is not None:
                inner = lettering.width(tag.text, sizes.text) + lettering.width(tag.score, sizes.text)
                assert inner <= tag.area[2] - tag.area[0]

    def test_the_first_of_a_crowd_have_theirs_with_the_score(self) -> None:
        sizes = Sizes.of(640, 480)
        labels, box = Labels(sizes, []), (200, 150, 440, 330)
        tags = [labels.beside(found("person", None, 0.87), box) for _ in range(60)]
        assert [tag.text for tag in tags[:8] if tag] == ["person 0.87"] * 8
        assert tags[-1] is None

    def test_a_label_alone_stands_above_its_box(self) -> None:
        sizes = Sizes.of(640, 480)
        tag = Labels(sizes, []).beside(found("cat", None), (200, 150, 440, 330))
        assert tag is not None
        assert (tag.area[0], tag.area[3]) == (200, 150)

    @pytest.mark.parametrize("size", [(64, 48), (640, 480), (4000, 3000), (3000, 150)])
    def test_letters_are_readable_at_every_size(self, size: tuple[int, int]) -> None:
        """Letters of at least 7 pixels in the better of black and white, and no more than a sixth high."""
        sizes = Sizes.of(*size)
        after = draw(paper(*size), found("person", (0.1, 0.5, 0.9, 0.9)))
        tag = Labels(sizes, []).beside(found("person", None, 0.9), pixels((0.1, 0.5, 0.9, 0.9), sizes))
        assert tag is not None
        assert tag.text == "person 0.90"
        left, top, right, bottom = tag.area
        chip = after[top:bottom, left:right].astype(int)
        ink = np.abs(chip - np.array(text_on(colour_of("person")))).sum(axis=2) < 60
        rows = np.flatnonzero(ink.any(axis=1))
        assert ink.mean() > 0.05
        assert 7 <= rows.max() - rows.min() + 1 <= sizes.row
        assert sizes.row <= max(size) / 4

    @pytest.mark.parametrize(
        ("label", "written"),
        [
            ("hot dog", "hot dog"),
            ("café", "cafe"),
            ("ﬁsh\n\tｆresh", "fish fresh"),
            ("犬", "#7"),
            ("Łódź", "#7"),
            ("🙂", "#7"),
            ("\ud800", "#7"),
            ("a\0b", "#7"),
            ("", "#7"),
        ],
    )
    def test_what_the_font_has_not_is_told_by_number(self, label: str, written: str) -> None:
        assert lettering.writable(label, 7) == written
        draw(paper(64, 48), found(label, (0.1, 0.1, 0.9, 0.9), label_id=7), found(label, None, label_id=7))

    def test_long_labels_are_shortened(self) -> None:
        size = Sizes.of(640, 480).text
        text = lettering.shortened("a very long label indeed", size, 100)
        assert text.startswith("a very")
        assert text.endswith("…")
        assert lettering.width(text, size) <= 100
        assert lettering.shortened("wide", size, 1) == ""


class TestWholePictures:
    def test_labels_stand_in_a_corner_the_best_first(self) -> None:
        names = ["cat", "dog", "bird"]
        after = draw(paper(640, 480), *(found(name, None, 0.9) for name in names))
        row = Sizes.of(640, 480).row
        assert [tuple(after[i * row, 0]) for i in range(3)] == [colour_of(name) for name in names]
        assert not changed(after)[3 * row :].any()
        assert not changed(after)[:, 320:].any()

    def test_they_leave_half_of_a_small_picture_free(self) -> None:
        after = draw(paper(64, 48), *(found(f"label {i}", None) for i in range(9)))
        assert changed(after)[:24].any()
        assert not changed(after)[24:].any()

    def test_an_empty_answer_leaves_a_small_remark(self) -> None:
        after = draw(paper(640, 480))
        marks = changed(after)
        assert tuple(after[0, 0]) == GREY
        assert 0 < marks.mean() < 0.02
        assert not marks[Sizes.of(640, 480).row :].any()

    def test_an_answer_that_is_no_detection_leaves_the_picture_as_it_is(self) -> None:
        vector = Prediction((), "v1", 64, 48, embedding=np.ones(4, np.float32))
        file = annotated(Picture(encoded=paper(64, 48)), vector, ["image/png"], NO_LIMIT)
        assert not changed(opened(file)).any()


class TestColours:
    def test_they_never_change(self) -> None:
        """In every process and version: pictures of last year are read beside those of today."""
        assert colour_of("person") == (0, 255, 0)
        assert colour_of("car") == (148, 10, 194)
        assert colour_of("circle") == (127, 0, 255)
        assert colour_of("犬") == (173, 251, 96)

    def test_common_ones_differ(self) -> None:
        names = ["person", "bicycle", "car", "dog", "cat", "bus", "bird", "face", "circle", "square"]
        assert len({colour_of(name) for name in names}) >= 8

    @given(st.text())
    def test_text_on_every_colour_can_be_read(self, label: str) -> None:
        colour = colour_of(label)
        assert contrast(text_on(colour), colour) >= 4.5

    def test_contrast_is_that_of_wcag(self) -> None:
        assert contrast(BLACK, WHITE) == pytest.approx(21)
        assert contrast((118, 118, 118), WHITE) == pytest.approx(4.54, abs=0.01)


class TestPictures:
    @pytest.mark.parametrize("media_type", MEDIA_TYPES)
    @pytest.mark.parametrize("size", SIZES)
    def test_every_format_and_size_comes_back_as_large_as_it_was(
        self, media_type: str, size: tuple[int, int]
    ) -> None:
        marks = [found("cat", (0.1, 0.1, 0.9, 0.9)), found("dog", None)]
        after = draw(paper(*size, "JPEG"), *marks, media_type=media_type)
        assert after.shape == (size[1], size[0], 3)
        if min(size) > 40:
            edge = after[size[1] // 2, round(size[0] * 0.1) + Sizes.of(*size).line // 2].astype(int)
            # WebP halves the resolution of colour.
            assert np.abs(edge - colour_of("cat")).max() < (60 if media_type != "image/webp" else 160)
            assert np.abs(after[size[1] // 2, size[0] // 2].astype(int) - PAPER).max() < 12

    @pytest.mark.parametrize("orientation", range(1, 9))
    def test_turned_pictures_are_drawn_upright(self, orientation: int) -> None:
        """The model's boxes are those of the upright picture."""
        corner = Image.new("RGB", (80, 60), PAPER)
        corner.paste((250, 250, 250), (0, 0, 20, 20))
        upright = {1: (0, 0), 2: (0, 1), 3: (1, 1), 4: (1, 0), 5: (0, 0), 6: (0, 1), 7: (1, 1), 8: (1, 0)}
        data = encode(corner, "JPEG", quality=95, exif=exif(orientation))
        file = drawn(data, found("cat", (0.4, 0.4, 0.6, 0.6)))
        after = opened(file)
        assert after.shape == ((60, 80, 3) if orientation <= 4 else (80, 60, 3))
        down, across = upright[orientation]
        assert after[-5 if down else 4, -5 if across else 4].min() > 230
        assert Image.open(BytesIO(file.data)).getexif() == {}

    @pytest.mark.parametrize("mode", ["L", "1", "P", "LA", "RGBA", "I;16", "CMYK"])
    @pytest.mark.parametrize("media_type", MEDIA_TYPES)
    def test_every_kind_of_pixel_is_drawn_on_in_colour(self, mode: str, media_type: str) -> None:
        image = Image.new("I;16", (80, 60), 30000) if mode == "I;16" else Image.new("RGB", (80, 60), PAPER)
        data = encode(image if mode == "I;16" else image.convert(mode), "JPEG" if mode == "CMYK" else "PNG")
        after = draw(data, found("cat", (0.1, 0.4, 0.9, 0.9)), media_type=media_type)
        assert after.shape == (60, 80, 3)
        wanted = np.array(colour_of("cat"))
        assert np.abs(after.astype(int) - wanted).sum(axis=2).min() < 60

    def test_a_transparent_picture_is_laid_on_white_and_stays_opaque(self) -> None:
        image = Image.new("RGBA", (80, 60), (9, 9, 9, 0))
        image.paste((0, 0, 200, 255), (0, 0, 40, 60))
        after = draw(encode(image, "PNG"), found("cat", (0.1, 0.4, 0.3, 0.9)))
        assert tuple(after[50, 70]) == WHITE

    def test_a_wide_picture_takes_the_next_format_that_can_hold_it(self) -> None:
        picture, nothing = Picture(encoded=paper(17_000, 9)), Prediction((), "v1", 17_000, 9)
        file = annotated(picture, nothing, ["image/webp", "image/png", "image/jpeg"], NO_LIMIT)
        assert (file.media_type, opened(file).shape) == ("image/png", (9, 17_000, 3))
        with pytest.raises(PictureTooLarge, match="17000x9 pixels; image/webp holds at most 16383 a side"):
            annotated(picture, nothing, ["image/webp"], NO_LIMIT)

    def test_the_limit_of_pixels_holds(self) -> None:
        with pytest.raises(PictureTooLarge, match="at most 100"):
            annotated(Picture(encoded=paper(64, 48)), Prediction((), "v1", 64, 48), MEDIA_TYPES, 100)

    def test_broken_pictures_are_refused_as_by_the_model(self) -> None:
        whole = encode(noise(64, 48), "JPEG")
        with pytest.raises(BadPicture):
            drawn(whole[: len(whole) // 2])
        with pytest.raises(UnsupportedPicture):
            drawn(b"GIF89a" + bytes(100))

    @pytest.mark.parametrize("media_type", MEDIA_TYPES)
    def test_of_the_metadata_only_a_true_colour_profile_stays(self, media_type: str) -> None:
        def profile(space: bytes) -> bytes:
            return bytes(16) + space + bytes(108)

        secret = exif(1)
        secret[0x013B] = "Somebody"
        for space, kept in ((b"RGB ", True), (b"CMYK", False)):
            data = encode(
                smooth(64, 48), "JPEG", exif=secret, comment=b"Somebody", icc_profile=profile(space)
            )
            file = drawn(data, media_type=media_type)
            assert b"Somebody" not in file.data
            assert (Image.open(BytesIO(file.data)).info.get("icc_profile") is not None) == kept

    def test_pixels_are_drawn_on_as_files_are(self) -> None:
        stored = noise(64, 48)
        before = stored.copy()
        seen = Prediction((found("cat", (0.1, 0.1, 0.9, 0.9)),), "v1", 64, 48)
        after = opened(annotated(Picture(pixels=stored), seen, ["image/png"], NO_LIMIT))
        assert tuple(after[24, 6]) == colour_of("cat")
        assert np.array_equal(stored, before)


def test_sizes_grow_with_the_picture() -> None:
    """As large on a screen, whatever the camera: letters of about 1/40 of the side, lines of 1/6 of that."""
    small, usual, huge = (Sizes.of(*size) for size in [(64, 48), (640, 480), (4000, 3000)])
    assert (small.text, small.line) == (10, 1)
    assert math.isclose(huge.text / usual.text, 6.25, rel_tol=0.05)
    assert huge.line > 5 * usual.line > 5 * small.line
    assert Sizes.of(20, 20).text == 0


# The heap of a thread, as in the service, keeps more than the main one.
_GROWTH = """
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
import psutil
from hotswap.runner import Picture, Prediction
from runners.draw import annotated
data = Path(sys.argv[1]).read_bytes()
def draw(_):
    annotated(Picture(encoded=data), Prediction((), "v1", 6000, 4000), ["image/jpeg"], 10**9)
before = psutil.Process().memory_info().rss
with ThreadPoolExecutor(2) as pool:
    list(pool.map(draw, range(8)))
    print(psutil.Process().memory_info().rss - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only this C library keeps what is freed")
def test_the_memory_of_a_big_picture_goes_back_to_the_machine(tmp_path: Path) -> None:
    """The heap would keep the 96 MB of each thread's last one."""
    file = tmp_path / "big.jpg"
    file.write_bytes(paper(6000, 4000, "JPEG"))
    done = subprocess.run(
        [sys.executable, "-c", _GROWTH, str(file)], cwd=ROOT, capture_output=True, check=True, text=True
    )
    assert int(done.stdout) < 40_000_000
