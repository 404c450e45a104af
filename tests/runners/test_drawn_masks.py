"""Masks, maps of classes, phrases and prompts are drawn where they are, and hide little."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from hotswap.predictions import Detection, Mask, Options, Picture, Prediction
from runners.drawing.draw import annotated
from runners.drawing.labels import Labels, Sizes
from runners.drawing.masks import cut_out
from runners.drawing.palette import BLACK, WHITE, colour_of
from runners.mask_runs import box_of, mask_of
from tests.runners.drawing import PAPER, changed, opened, paper
from tests.runners.pictures import NO_LIMIT

WIDTH, HEIGHT = 640, 480
SIZES = Sizes.of(WIDTH, HEIGHT)
NO_PROMPT = Options()


def _masked(label: str, inside: NDArray[np.bool_], score: float = 0.9, **more: Any) -> Detection:
    return Detection(label, 0, score, box_of(inside), mask=mask_of(inside), **more)


def _rectangle(left: int, top: int, right: int, bottom: int) -> NDArray[np.bool_]:
    inside = np.zeros((HEIGHT, WIDTH), bool)
    inside[top:bottom, left:right] = True
    return inside


def _draw(
    *detections: Detection, options: Options = NO_PROMPT, task: str = "instance-segmentation"
) -> NDArray[np.uint8]:
    prediction = Prediction(detections, "v1", WIDTH, HEIGHT, task=task)
    picture = Picture(encoded=paper(WIDTH, HEIGHT))
    return opened(annotated(picture, prediction, options, ["image/png"], NO_LIMIT))


def _half(label: str) -> NDArray[np.int64]:
    return (np.array(colour_of(label)) + PAPER) // 2


def _is(pixel: NDArray[np.uint8], colour: Any, slack: int = 2) -> bool:
    return bool(np.abs(pixel.astype(int) - colour).max() <= slack)


class TestMasks:
    def test_the_inside_is_half_transparent_and_its_outline_full(self) -> None:
        after = _draw(_masked("cat", _rectangle(200, 150, 400, 300)))
        line = SIZES.line
        assert _is(after[225, 300], _half("cat"))
        for x, y in ((200, 225), (399, 225), (300, 150 + line - 1), (300, 299)):
            assert _is(after[y, x], colour_of("cat"), 0), (x, y)
        assert _is(after[225, 200 + line + 1], _half("cat"))

    def test_outside_nothing_but_the_label_changes_and_there_is_no_frame(self) -> None:
        triangle = np.tri(HEIGHT, WIDTH, dtype=bool) & _rectangle(200, 150, 400, 300)
        marks = changed(_draw(_masked("cat", triangle)))
        assert marks[triangle].all()
        marks[: int(np.flatnonzero(triangle.any(axis=1))[0])] = False  # the label stands above
        assert not (marks & ~triangle).any()

    def test_the_pictures_own_edge_is_no_outline(self) -> None:
        after = _draw(_masked("cat", _rectangle(0, 100, WIDTH, HEIGHT)))
        assert _is(after[300, 0], _half("cat"))
        assert _is(after[HEIGHT - 1, 300], _half("cat"))
        assert _is(after[100, 600], colour_of("cat"), 0)

    def test_the_best_lies_on_top(self) -> None:
        square = _rectangle(200, 150, 400, 300)
        after = _draw(_masked("cat", square, 0.9), _masked("dog", square, 0.5))
        assert _is(after[150 + 75, 200], colour_of("cat"), 0)

    def test_a_thin_mask_keeps_what_it_shows(self) -> None:
        after = _draw(_masked("cat", _rectangle(200, 150, 207, 300)))
        assert _is(after[225, 203], _half("cat"))

    @pytest.mark.parametrize("inside", [_rectangle(0, 0, 0, 0), _rectangle(0, 0, WIDTH, HEIGHT)])
    def test_masks_of_nothing_and_of_everything_have_no_outline(self, inside: NDArray[np.bool_]) -> None:
        after = _draw(_masked("cat", inside))
        expected = _half("cat") if inside.any() else PAPER
        assert _is(after[HEIGHT - 1, WIDTH - 1], expected)
        assert _is(after[240, 320], expected)

    @given(st.integers(1, 30), st.integers(1, 30), st.integers(0, 5), st.floats(0, 1), st.integers(0, 999))
    def test_a_cut_out_is_the_mask_at_its_place(
        self, width: int, height: int, margin: int, share: float, seed: int
    ) -> None:
        inside = np.random.default_rng(seed).random((height, width)) < share * 0.2
        cut = cut_out(mask_of(inside), margin)
        assert (cut is None) == (not inside.any())
        if cut is not None:
            (left, top, right, bottom), part = cut
            assert np.array_equal(part, inside[top:bottom, left:right])
            assert part.sum() == inside.sum()
            columns = np.flatnonzero(inside.any(axis=0))
            assert (left, right) == (
                max(0, columns[0] - margin),
                min(width, columns[-1] + 1 + margin),
            )


class TestMapsOfClasses:
    def test_the_legend_names_each_class_in_its_colour_the_largest_first(self) -> None:
        sky, road = _rectangle(0, 0, WIDTH, 200), _rectangle(0, 200, WIDTH, HEIGHT)
        after = _draw(_masked("sky", sky, 0.9), _masked("road", road, 0.4), task="semantic-segmentation")
        edge = SIZES.pad // 2
        assert _is(after[edge, edge], colour_of("road"), 0)
        assert _is(after[SIZES.row + edge, edge], colour_of("sky"), 0)
        assert _is(after[150, 320], _half("sky"))
        assert _is(after[400, 320], _half("road"))
        assert _is(after[199, 320], colour_of("sky"), 0)

    def test_no_label_stands_beside_a_class(self) -> None:
        square = _rectangle(300, 250, 500, 400)
        marks = changed(_draw(_masked("cat", square), task="semantic-segmentation"))
        marks[: SIZES.row] = False
        assert np.array_equal(marks, square)


class TestPhrases:
    def _text(self, **more: Any) -> str:
        tag = Labels(SIZES, []).beside(Detection("bird", 0, 0.87, (0, 0, 1, 1), **more), (200, 150, 440, 330))
        assert tag is not None
        return tag.text

    @pytest.mark.parametrize(
        ("phrase", "text"),
        [
            (None, "bird 0.87"),
            ("bird", "bird 0.87"),
            ("a small bird", "bird (a small bird) 0.87"),
            ("鳥", "bird 0.87"),
            ("W" * 64, "bird 0.87"),
        ],
    )
    def test_words_that_differ_stand_beside_the_label(self, phrase: str | None, text: str) -> None:
        assert self._text(phrase=phrase) == text


class TestPrompts:
    def test_a_point_of_the_object_is_white_and_another_black(self) -> None:
        options = Options(points=((0.25, 0.5, 1), (0.75, 0.5, 0)))
        after = _draw(_masked("cat", _rectangle(100, 100, 600, 400)), options=options)
        assert tuple(after[240, 160]) == WHITE
        assert tuple(after[240, 480]) == BLACK
        radius = 2 * SIZES.line
        assert tuple(after[240, 160 + radius]) == BLACK
        assert tuple(after[240, 480 + radius]) == WHITE
        assert _is(after[240, 160 + 2 * radius], _half("cat"))

    def test_a_box_is_two_hairs(self) -> None:
        after = _draw(options=Options(boxes=((0.25, 0.25, 0.75, 0.75),)), task="prompted-segmentation")
        assert tuple(after[240, 160]) == WHITE
        assert tuple(after[240, 161]) == BLACK
        assert tuple(after[240, 162]) == PAPER
        assert tuple(after[359, 320]) == WHITE

    def test_a_prompt_at_the_very_edge_is_drawn(self) -> None:
        options = Options(points=((1.0, 1.0, 1),), boxes=((0.9999, 0.9999, 1.0, 1.0),))
        assert changed(_draw(options=options))[-1, -1]


def test_a_mask_says_how_large_it_is() -> None:
    mask = mask_of(_rectangle(10, 10, 30, 20))
    assert mask.area == 200 == mask.pixels().sum()
    assert Mask(3, 2, np.array([6])).area == 0
