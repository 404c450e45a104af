"""Each way of making the input is compared with the plain computation, pixel by pixel."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from PIL import Image

from manifest.version_manifest import InputConfig
from runners.decode import Decoded
from runners.preprocess import Preprocessor
from tests.runners.pictures import noise

MEAN, STD = [123.7, 116.3, 103.5], [58.4, 57.1, 57.4]


def _config(**changes: Any) -> InputConfig:
    return InputConfig.model_validate({"width": 24, "height": 16} | changes)


def _make(config: InputConfig, picture: np.ndarray) -> np.ndarray:
    height, width, _ = picture.shape
    tensor, _ = Preprocessor(config).make([Decoded(Image.fromarray(picture), width, height)])
    return tensor[0]


def _plain(config: InputConfig, canvas: np.ndarray) -> np.ndarray:
    """What the config says, in the slowest words: canvas [height, width, RGB] to the tensor."""
    if config.colour_order == "BGR":
        canvas = canvas[:, :, [2, 1, 0]]
    values = canvas.astype(np.float64) * config.scale
    values = (values - np.array(config.mean or [0, 0, 0])) / np.array(config.std or [1, 1, 1])
    if config.dtype == "uint8":
        values = canvas
    return np.moveaxis(values, 2, 0) if config.layout == "NCHW" else values


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("order", ["RGB", "BGR"])
@pytest.mark.parametrize(
    "arithmetic",
    [
        {},
        {"scale": 1 / 255},
        {"mean": MEAN},
        {"mean": MEAN, "std": STD},
        {"scale": 1 / 255, "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]},
        {"dtype": "uint8"},
    ],
)
def test_values_and_layout(layout, order, arithmetic):
    picture, config = noise(24, 16), _config(layout=layout, colour_order=order, **arithmetic)
    tensor = _make(config, picture)
    assert tensor.dtype == config.dtype
    assert tensor.flags.c_contiguous
    np.testing.assert_allclose(tensor, _plain(config, picture), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kernel", ["nearest", "bilinear", "bicubic", "lanczos", "box"])
def test_stretch_fills_the_input_with_the_kernel(kernel):
    config = _config(resize={"mode": "stretch", "kernel": kernel})
    picture = noise(50, 40)
    resample = Image.Resampling[kernel.upper()]
    canvas = np.asarray(Image.fromarray(picture).resize((24, 16), resample))
    np.testing.assert_allclose(_make(config, picture), _plain(config, canvas))


@pytest.mark.parametrize("how", [("float32", "NCHW"), ("float32", "NHWC"), ("uint8", "NHWC")])
@pytest.mark.parametrize(
    ("mode", "size", "inner", "corner"),
    [
        ("letterbox", (48, 16), (24, 8), (0, 0)),
        ("letterbox", (10, 16), (10, 16), (0, 0)),
        ("letterbox_centre", (48, 16), (24, 8), (0, 4)),
        ("letterbox_centre", (33, 33), (16, 16), (4, 0)),
        ("letterbox_centre", (7, 100), (1, 16), (11, 0)),
        ("longest_edge_centre", (7, 70), (2, 16), (11, 0)),
        ("longest_edge_centre", (25, 16), (24, 15), (0, 0)),
        ("letterbox", (1, 500), (1, 16), (0, 0)),
    ],
)
def test_letterbox_keeps_the_aspect_and_fills_the_rest(how, mode, size, inner, corner):
    dtype, layout = how
    arithmetic = {} if dtype == "uint8" else {"mean": MEAN, "std": STD}
    config = _config(resize={"mode": mode}, layout=layout, dtype=dtype, pad=77, **arithmetic)
    picture = noise(*size)
    small = Image.fromarray(picture).resize(inner, Image.Resampling.BILINEAR)
    page = Image.new("RGB", (24, 16), (77, 77, 77))
    page.paste(small, corner)
    tensor = _make(config, picture)
    np.testing.assert_allclose(tensor, _plain(config, np.asarray(page)), rtol=1e-5, atol=1e-5)


def test_letterbox_rounds_down_as_the_reference_does():
    tensor = _make(_config(resize={"mode": "letterbox"}, pad=0), np.full((16, 25, 3), 255, np.uint8))
    rows = tensor[0].max(axis=1)
    assert int((rows > 0).sum()) == int(16 * min(24 / 25, 16 / 16)) == 15


@pytest.mark.parametrize(
    ("size", "small", "middle"),
    [
        ((100, 32), (50, 16), (13, 0, 37, 16)),
        ((48, 60), (24, 30), (0, 7, 24, 23)),
        ((48, 32), (24, 16), (0, 0, 24, 16)),
    ],
)
def test_centre_crop_shrinks_the_shorter_side_and_cuts_the_longer(size, small, middle):
    config, picture = _config(resize={"mode": "centre_crop"}), noise(*size)
    canvas = Image.fromarray(picture).resize(small, Image.Resampling.BILINEAR).crop(middle)
    np.testing.assert_allclose(_make(config, picture), _plain(config, np.asarray(canvas)), atol=1.01)


def test_geometry_is_that_of_the_original_not_of_the_smaller_decode():
    config = _config(resize={"mode": "letterbox"}, pad=0)
    shrunk = Image.fromarray(np.full((51, 101, 3), 255, np.uint8))
    _, (geometry,) = Preprocessor(config).make([Decoded(shrunk, 403, 201)])
    assert geometry.target == (0, 0, 24, int(201 * 24 / 403))


def test_a_batch_holds_each_picture_in_its_row():
    config = _config()
    pictures = [noise(24, 16, seed) for seed in range(3)]
    decoded = [Decoded(Image.fromarray(picture), 24, 16) for picture in pictures]
    tensor, geometries = Preprocessor(config).make(decoded)
    assert tensor.shape == (3, 3, 16, 24)
    assert len(geometries) == 3
    for row, picture in zip(tensor, pictures, strict=True):
        np.testing.assert_array_equal(row, _plain(config, picture))


def test_a_tensor_handed_back_is_used_again_and_leaves_no_trace():
    preprocessor = Preprocessor(_config(resize={"mode": "letterbox"}, pad=5))
    bright, dark = np.full((16, 24, 3), 255, np.uint8), np.zeros((4, 24, 3), np.uint8)
    first, _ = preprocessor.make([Decoded(Image.fromarray(bright), 24, 16)])
    held, _ = preprocessor.make([Decoded(Image.fromarray(bright), 24, 16)])
    assert held is not first
    preprocessor.give_back(first)
    second, _ = preprocessor.make([Decoded(Image.fromarray(dark), 24, 4)])
    assert second is first
    assert set(np.unique(second)) == {0.0, 5.0}
