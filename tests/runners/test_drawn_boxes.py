"""A frame stands on the picture where the model found something, and is as large as the picture asks."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hotswap.predictions import Box
from runners.drawing.draw import pixels
from runners.drawing.labels import Sizes
from runners.drawing.palette import colour_of, text_on
from tests.runners.drawing import PAPER, SIZES, changed, draw, found, paper


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

    @pytest.mark.slow
    @pytest.mark.parametrize("size", SIZES[2:])
    def test_a_small_box_keeps_what_it_shows(self, size: tuple[int, int]) -> None:
        width, height = size
        box = (0.5, 0.5, 0.5 + 6 / width, 0.5 + 6 / height)
        after = draw(paper(*size), found("cat", box))
        x, y = width // 2, height // 2
        assert tuple(after[y, x]) == colour_of("cat")
        assert tuple(after[y + 3, x + 3]) == PAPER

    @pytest.mark.slow
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


def test_sizes_grow_with_the_picture() -> None:
    """As large on a screen, whatever the camera: letters of about 1/40 of the side, lines of 1/6 of that."""
    small, usual, huge = (Sizes.of(*size) for size in [(64, 48), (640, 480), (4000, 3000)])
    assert (small.text, small.line) == (10, 1)
    assert math.isclose(huge.text / usual.text, 6.25, rel_tol=0.05)
    assert huge.line > 5 * usual.line > 5 * small.line
    assert Sizes.of(20, 20).text == 0
