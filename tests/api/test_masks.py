"""Masks on the wires, held against pycocotools and Pillow."""

from __future__ import annotations

import base64
from io import BytesIO

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from pycocotools import mask as coco

from api.masks import coco_counts, mask_body
from runners.mask_runs import mask_of, part_mask
from tests.e2e.sizes import SIZES


def _masks() -> st.SearchStrategy[NDArray[np.bool_]]:
    sides = st.tuples(st.integers(1, 40), st.integers(1, 40), st.integers(0, 2**32 - 1), st.floats(0, 1))
    return sides.map(lambda s: np.random.default_rng(s[2]).random((s[0], s[1])) < s[3])


@settings(max_examples=SIZES.examples)
@given(_masks())
def test_run_lengths_are_those_of_coco(mask: NDArray[np.bool_]) -> None:
    expected = coco.encode(np.asfortranarray(mask.astype(np.uint8)))
    made = mask_of(mask)
    assert mask_body(made, "rle") == {
        "size": list(expected["size"]),
        "counts": expected["counts"].decode(),
    }
    assert np.array_equal(made.pixels(), mask)


@pytest.mark.parametrize("shape", [(300, 200), (1, 70_000), (70_000, 1)])
def test_long_runs_and_ends(shape: tuple[int, int]) -> None:
    for mask in (
        np.zeros(shape, bool),
        np.ones(shape, bool),
        np.arange(shape[0] * shape[1]).reshape(shape) > 9,
    ):
        expected = coco.encode(np.asfortranarray(mask.astype(np.uint8)))["counts"].decode()
        assert coco_counts(mask_of(mask).counts) == expected


def test_a_png_has_one_bit_a_pixel_and_white_inside() -> None:
    mask = np.zeros((30, 50), bool)
    mask[10:20, 5:40] = True
    body = mask_body(mask_of(mask), "png")
    assert body["size"] == [30, 50]
    image = Image.open(BytesIO(base64.b64decode(body["png"])))
    assert (image.mode, image.size) == ("1", (50, 30))
    assert np.array_equal(np.asarray(image), mask)


@pytest.mark.slow
@settings(max_examples=SIZES.examples)
@given(_masks(), st.integers(0, 5), st.integers(0, 5), st.integers(0, 5), st.integers(0, 5))
def test_a_part_of_a_picture_is_as_the_whole(
    part: NDArray[np.bool_], left: int, top: int, right: int, below: int
) -> None:
    whole = np.pad(part, ((top, below), (left, right)))
    made = part_mask(part, (left, top), whole.shape[::-1])
    assert made.counts.tolist() == mask_of(whole).counts.tolist()
