"""An image whose memory is written from outside."""

from __future__ import annotations

import gc

import numpy as np
import pytest

from runners.formats.canvas import Canvas


@pytest.mark.slow
@pytest.mark.parametrize("size", [(1, 1), (7, 3), (641, 479), (2_000, 1_874), (2_000, 1_876), (9, 500_000)])
def test_what_is_written_is_the_image(size):
    canvas = Canvas(size)
    made = np.random.default_rng(1).integers(0, 256, (size[1], size[0], 4), dtype=np.uint8)
    canvas.pixels[...] = made
    image = canvas.image()
    del canvas
    gc.collect()

    assert (image.mode, image.size) == ("RGB", size)
    assert np.array_equal(np.asarray(image), made[:, :, :3])


def test_an_image_of_a_canvas_is_an_image_as_any_other():
    canvas = Canvas((40, 30))
    canvas.pixels[...] = 255
    image = canvas.image()
    copy = image.copy()
    image.putpixel((3, 4), (1, 2, 3))

    assert image.getpixel((3, 4)) == (1, 2, 3)
    assert copy.getpixel((3, 4)) == (255, 255, 255)
