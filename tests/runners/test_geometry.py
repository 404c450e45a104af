"""A box that is laid into the input finds back to where it was in the picture."""

from __future__ import annotations

import numpy as np
import pytest

from runners.geometry import place

MODES = ("stretch", "letterbox", "letterbox_centre", "longest_edge_centre", "centre_crop")


def _into_input(mode, picture, model, point):
    """Where a point in pixels of the picture lies in 0..1 of the input, step by step."""
    (width, height), (across, down), (x, y) = picture, model, point
    if mode == "stretch":
        return x / width, y / height
    if mode == "centre_crop":
        ratio = max(across / width, down / height)
        cut_x, cut_y = (width * ratio - across) / 2, (height * ratio - down) / 2
        return (x * ratio - cut_x) / across, (y * ratio - cut_y) / down
    ratio = min(across / width, down / height)
    whole = round if mode == "longest_edge_centre" else int
    inner = max(1, whole(width * ratio)), max(1, whole(height * ratio))
    left, top = (0, 0)
    if mode in ("letterbox_centre", "longest_edge_centre"):
        left, top = (across - inner[0]) // 2, (down - inner[1]) // 2
    return (left + x / width * inner[0]) / across, (top + y / height * inner[1]) / down


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("seed", range(25))
def test_boxes_find_back(mode, seed):
    numbers = np.random.default_rng(seed)
    picture = tuple(numbers.integers(2, 3000, 2).tolist())
    model = tuple(numbers.integers(16, 640, 2).tolist())
    corners = numbers.uniform(0, 1, (2, 2)) * picture
    low, high = corners.min(axis=0), corners.max(axis=0)
    inside = [*_into_input(mode, picture, model, low), *_into_input(mode, picture, model, high)]
    restored = place(mode, picture, model).restore(np.array([inside]))[0]
    np.testing.assert_allclose(restored, [*(low / picture), *(high / picture)], atol=1e-9)


@pytest.mark.parametrize("mode", MODES)
def test_boxes_end_at_the_picture(mode):
    restored = place(mode, (300, 100), (64, 64)).restore(np.array([[-9.0, -9.0, 9.0, 9.0]]))
    assert restored.tolist() == [[0.0, 0.0, 1.0, 1.0]]


def test_no_boxes_stay_no_boxes():
    assert place("stretch", (30, 10), (64, 64)).restore(np.zeros((0, 4))).shape == (0, 4)
