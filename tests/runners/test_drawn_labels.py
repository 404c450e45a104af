"""Labels say what was found: readable, inside, none over another, the same colour for ever."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hotswap.predictions import Box, Options, Picture, Prediction
from runners.drawing.draw import annotated, pixels
from runners.drawing.labels import Labels, Sizes, panel
from runners.drawing.palette import BLACK, GREY, WHITE, colour_of, contrast, text_on
from runners.drawing.text import shortened, width, writable
from tests.runners.drawing import changed, draw, found, opened, paper
from tests.runners.pictures import NO_LIMIT


class TestLabels:
    @pytest.mark.slow
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
                inner = width(tag.text, sizes.text) + width(tag.score, sizes.text)
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

    @pytest.mark.slow
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
        assert writable(label, 7) == written
        draw(paper(64, 48), found(label, (0.1, 0.1, 0.9, 0.9), label_id=7), found(label, None, label_id=7))

    def test_long_labels_are_shortened(self) -> None:
        size = Sizes.of(640, 480).text
        text = shortened("a very long label indeed", size, 100)
        assert text.startswith("a very")
        assert text.endswith("…")
        assert width(text, size) <= 100
        assert shortened("wide", size, 1) == ""


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
        file = annotated(Picture(encoded=paper(64, 48)), vector, Options(), ["image/png"], NO_LIMIT)
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
