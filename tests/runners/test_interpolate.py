"""Bilinear interpolation: by hand, against Pillow where both mean the same, and the greatest of many maps."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from runners.interpolate import above_zero, bilinear, greatest
from runners.interpolated_mask import mask_above_zero
from runners.mask_runs import box_of, box_of_mask, mask_of
from tests.e2e.sizes import SIZES


def test_pixel_centres_lie_at_halves_and_edges_are_repeated() -> None:
    row = np.array([[[0.0, 4.0]]], np.float32)
    assert bilinear(row, 1, 4).tolist() == [[[0.0, 1.0, 3.0, 4.0]]]
    assert bilinear(row, 3, 2).tolist() == [[[0.0, 4.0]] * 3]
    # Made smaller, places are sampled and nothing is smoothed.
    assert bilinear(np.array([[[0.0, 9.0, 9.0, 9.0, 9.0, 6.0]]], np.float32), 1, 2).tolist() == [[[9.0, 9.0]]]


@pytest.mark.parametrize("size", [(40, 64), (33, 47), (40, 31)])
def test_made_larger_it_is_what_pillow_gives(size: tuple[int, int]) -> None:
    plane = np.random.default_rng(1).normal(size=(20, 31)).astype(np.float32)
    expected = Image.fromarray(plane).resize((size[1], size[0]), Image.Resampling.BILINEAR)
    assert np.abs(bilinear(plane[None], *size)[0] - np.asarray(expected)).max() < 1e-5


@settings(max_examples=SIZES.examples)
@given(
    st.integers(1, 9),
    st.tuples(st.integers(1, 12), st.integers(1, 12)),
    st.tuples(st.integers(1, 40), st.integers(1, 40)),
    st.integers(0, 2**32 - 1),
)
def test_the_greatest_is_that_of_all_interpolated_maps(
    count: int, size: tuple[int, int], wanted: tuple[int, int], seed: int
) -> None:
    maps = np.random.default_rng(seed).normal(size=(count, *size)).astype(np.float32)
    whole = bilinear(maps, *wanted)
    chosen = np.take_along_axis(whole, greatest(maps, *wanted)[None].astype(np.intp), axis=0)[0]
    assert np.abs(chosen - whole.max(axis=0)).max() < 1e-5


def test_many_bands_are_one_map() -> None:
    maps = np.random.default_rng(3).normal(size=(5, 16, 9)).astype(np.float32)
    whole = bilinear(maps, 900, 700).argmax(axis=0)
    assert (greatest(maps, 900, 700) == whole).mean() > 0.9999


@settings(max_examples=SIZES.examples)
@given(
    st.tuples(st.integers(1, 12), st.integers(1, 12)),
    st.tuples(st.integers(1, 40), st.integers(1, 40)),
    st.integers(0, 2**32 - 1),
    st.floats(-2, 2),
)
def test_above_zero_is_where_the_interpolated_plane_is(
    size: tuple[int, int], wanted: tuple[int, int], seed: int, shift: float
) -> None:
    plane = (np.random.default_rng(seed).normal(size=size) + shift).astype(np.float32)
    whole = bilinear(plane[None], *wanted)[0]
    differs = above_zero(plane, *wanted) != (whole > 0)
    assert np.abs(whole[differs]).max(initial=0.0) < 1e-5


def test_many_bands_are_one_mask_whose_columns_lie_in_a_row() -> None:
    plane = np.random.default_rng(4).normal(size=(16, 9)).astype(np.float32)
    plane[:, 3:6] -= 9  # bands with nothing inside
    found = above_zero(plane, 900, 700)
    assert found.flags.f_contiguous
    assert (found == (bilinear(plane[None], 900, 700)[0] > 0)).mean() > 0.9999


def _planes(kind: str, numbers: np.random.Generator, size: tuple[int, int]) -> np.ndarray:
    """Logits: of any sign, with exact zeros, of very different sizes, or smooth."""
    plane = numbers.normal(size=size) + numbers.normal()
    if kind == "zeros":
        plane = np.round(plane)
    if kind == "sizes":
        plane = np.sign(plane) * 10.0 ** numbers.integers(-30, 30, size)
    if kind == "smooth":
        small = Image.fromarray(numbers.normal(size=(3, 3)).astype(np.float32))
        plane = np.asarray(small.resize(size[::-1], Image.Resampling.BICUBIC))
    return plane.astype(np.float32)


@pytest.mark.slow
@settings(max_examples=4 * SIZES.examples)
@given(
    st.sampled_from(["normal", "zeros", "sizes", "smooth"]),
    st.tuples(st.integers(1, 40), st.integers(1, 40)),
    st.tuples(st.integers(1, 130), st.integers(1, 130)),
    st.integers(0, 2**32 - 1),
)
def test_a_mask_of_changes_is_that_of_all_values(
    kind: str, size: tuple[int, int], wanted: tuple[int, int], seed: int
) -> None:
    plane = _planes(kind, np.random.default_rng(seed), size)
    whole = bilinear(plane[None], *wanted)[0] > 0
    mask = mask_above_zero(plane, *wanted)
    assert mask.counts.tolist() == mask_of(whole).counts.tolist()
    assert (mask.width, mask.height) == wanted[::-1]
    assert box_of_mask(mask) == box_of(whole)


@pytest.mark.parametrize("inside", [True, False], ids=["all", "none"])
def test_a_mask_without_changes(inside: bool) -> None:
    plane = np.full((4, 4), 1.0 if inside else -1.0, np.float32)
    mask = mask_above_zero(plane, 30, 20)
    assert mask.counts.tolist() == ([0, 600] if inside else [600])
    assert box_of_mask(mask) == ((0.0, 0.0, 1.0, 1.0) if inside else None)


def test_a_mask_of_a_large_picture_is_that_of_all_values() -> None:
    smooth = _planes("smooth", np.random.default_rng(5), (192, 256))
    whole = mask_of(above_zero(smooth, 3000, 4000))
    assert mask_above_zero(smooth, 3000, 4000).counts.tolist() == whole.counts.tolist()
    assert len(whole.counts) > 1000
