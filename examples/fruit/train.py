"""Trains the classifier of the team `fruit` and writes `weights/fruit_best.onnx`: seconds, on any machine.

    python -m examples.fruit.train

Random 1x1 filters and their means and maxima over the picture, then logistic regression on them: small
enough to read, and good enough for drawn fruit. It prints the share of unseen pictures that it gets right.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from examples.fruit.pictures import fruit

WEIGHTS = Path(__file__).resolve().parents[2] / "weights" / "fruit_best.onnx"
#: Side of the graph's input, and how many filters look at it.
SIDE, FILTERS = 64, 48
_SEEN, _UNSEEN = 600, 400
_STEPS, _RIDGE = 40, 1e-3

Floats = NDArray[np.float32]


def main() -> None:
    """Train, say how good it is, and write the file."""
    chance = np.random.default_rng(4)
    kernel = chance.normal(0, 2.0, (FILTERS, 3)).astype(np.float32)
    offset = chance.uniform(-1.2, 1.2, FILTERS).astype(np.float32)
    wanted = np.arange(_SEEN) % 2
    features = _features(_pictures(range(_SEEN)), kernel, offset)
    mean, spread = features.mean(0), features.std(0) + 1e-6
    slope, bias = _fit((features - mean) / spread, wanted)
    weight = (slope / spread).astype(np.float32)
    constant = np.float32(bias - (slope * mean / spread).sum())

    others = range(_SEEN, _SEEN + _UNSEEN)
    right = (
        (_features(_pictures(others), kernel, offset) @ weight + constant > 0) == np.arange(_UNSEEN) % 2
    ).mean()
    print(f"{right:.1%} of {_UNSEEN} pictures that it has not seen")
    WEIGHTS.parent.mkdir(exist_ok=True)
    onnx.save(_graph(kernel, offset, weight, constant), WEIGHTS)
    print(f"written: {WEIGHTS} ({WEIGHTS.stat().st_size} bytes)")


def _pictures(numbers: range) -> Floats:
    """[N, 3, SIDE, SIDE] in 0..1; those of odd places have a defect."""
    images = [fruit(number, defect=place % 2 == 1) for place, number in enumerate(numbers)]
    pixels = np.stack([np.asarray(each.resize((SIDE, SIDE)), np.float32) for each in images]) / 255
    return np.ascontiguousarray(pixels.transpose(0, 3, 1, 2))


def _features(pictures: Floats, kernel: Floats, offset: Floats) -> Floats:
    """[N, 2 * FILTERS]: mean and maximum of each filter over the picture."""
    seen = np.maximum(np.einsum("nchw,fc->nfhw", pictures, kernel) + offset[None, :, None, None], 0)
    found: Floats = np.concatenate([seen.mean((2, 3)), seen.max((2, 3))], axis=1)
    return found


def _fit(features: Floats, wanted: NDArray[np.int64]) -> tuple[NDArray[np.float64], float]:
    """Slopes and bias of logistic regression with a ridge, by Newton's method."""
    rows = np.concatenate([features, np.ones((len(features), 1))], axis=1).astype(np.float64)
    weights = np.zeros(rows.shape[1])
    ridge = np.full(len(weights), _RIDGE * len(rows))
    ridge[-1] = 0
    for _ in range(_STEPS):
        share = 1 / (1 + np.exp(-np.clip(rows @ weights, -30, 30)))
        slope = rows.T @ (wanted - share) - ridge * weights
        curve = (rows * (share * (1 - share))[:, None]).T @ rows + np.diag(ridge + 1e-9)
        weights += np.linalg.solve(curve, slope)
    return weights[:-1], float(weights[-1])


def _graph(kernel: Floats, offset: Floats, weight: Floats, constant: np.float32) -> Any:
    """`pixels` [1, 3, SIDE, SIDE] in 0..1 -> `scores` [1, 2]: sound, defect."""
    arrays = {
        "kernel": kernel[:, :, None, None],
        "offset": offset,
        "weight": np.stack([-weight / 2, weight / 2], axis=1),
        "constant": np.array([-constant / 2, constant / 2], np.float32),
    }
    nodes = [
        helper.make_node("Conv", ["pixels", "kernel", "offset"], ["filtered"]),
        helper.make_node("Relu", ["filtered"], ["seen"]),
        helper.make_node("GlobalAveragePool", ["seen"], ["means"]),
        helper.make_node("GlobalMaxPool", ["seen"], ["maxima"]),
        helper.make_node("Concat", ["means", "maxima"], ["both"], axis=1),
        helper.make_node("Flatten", ["both"], ["features"]),
        helper.make_node("Gemm", ["features", "weight", "constant"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["scores"], axis=1),
    ]
    graph = helper.make_graph(
        nodes,
        "fruit",
        [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, [1, 3, SIDE, SIDE])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, [1, 2])],
        [numpy_helper.from_array(array.astype(np.float32), name) for name, array in arrays.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.checker.check_model(model)
    return model


if __name__ == "__main__":
    main()
