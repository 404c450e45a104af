"""Graphs with ballast answer as before, and take the memory."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest

from models_import.demo_models import DEMO
from soak.ballast import with_ballast

WEIGHTS = DEMO / "shapes" / "v1" / "weights.onnx"


@pytest.mark.parametrize("size", [1_000, 2_000_002])
def test_a_graph_with_ballast_is_whole_and_answers_as_before(size: int) -> None:
    plain = WEIGHTS.read_bytes()
    heavy = with_ballast(plain, size, "image")
    assert abs(len(heavy) - len(plain) - size) < 1_000
    model = onnx.load_from_string(heavy)
    onnx.checker.check_model(model, full_check=True)
    image = np.random.default_rng(0).random((1, 3, 128, 128), np.float32)
    before, after = (onnxruntime.InferenceSession(each) for each in (plain, heavy))
    (expected,) = before.run(["predictions"], {"image": image})
    (found,) = after.run(["predictions"], {"image": image})
    assert np.array_equal(expected, found)
    (ballast,) = after.run(["ballast"], {"image": image})
    assert ballast.shape == (size // 4,)
