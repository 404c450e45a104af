"""A graph as heavy as a real detector, and like one in many tensors of different sizes.

One huge tensor would come from the system by itself and go back by itself; a real model's tensors lie on
the heap, where memory that was freed can stay with the process.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tests import builders

_PIECES = 120
_ROW = 1024


def heavy_graph(code: int, size: int) -> onnx.ModelProto:
    """A graph that answers with the code, of `size` bytes in many tensors."""
    rng = np.random.default_rng(code)
    shares = rng.uniform(0.1, 2.0, _PIECES)
    rows = np.maximum(1, shares / shares.sum() * size / (4 * _ROW)).astype(int)
    weights: dict[str, Any] = {
        f"piece-{number}": rng.random((count, _ROW), np.float32) for number, count in enumerate(rows)
    }
    weights["scores_of_code"] = np.array([[builders.score_of(code), 0.0]], np.float32)
    weights["nothing"] = np.float32(0)
    body = helper.make_graph(
        list(_nodes(list(weights)[:_PIECES])),
        "heavy",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, 32, 32])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, [1, 2])],
        [numpy_helper.from_array(np.asarray(value), key) for key, value in weights.items()],
    )
    return helper.make_model(body, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def _nodes(pieces: list[str]) -> list[onnx.NodeProto]:
    """Of every piece one row, chosen by the picture, takes part, so that none can be left out."""
    nodes = [
        helper.make_node("ReduceMean", ["image"], ["grey"], keepdims=0),
        helper.make_node("Mul", ["grey", "nothing"], ["dark"]),
        helper.make_node("Cast", ["dark"], ["row"], to=TensorProto.INT64),
    ]
    for piece in pieces:
        nodes += [
            helper.make_node("Gather", [piece, "row"], [f"{piece}-row"], axis=0),
            helper.make_node("ReduceMean", [f"{piece}-row"], [f"{piece}-mean"], keepdims=0),
        ]
    return [
        *nodes,
        helper.make_node("Sum", [f"{piece}-mean" for piece in pieces], ["sum"]),
        helper.make_node("Mul", ["sum", "nothing"], ["weightless"]),
        helper.make_node("Add", ["weightless", "scores_of_code"], ["scores"]),
    ]
