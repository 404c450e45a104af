"""A model like a detector's trunk: a row of convolutions that read all their weights for each picture."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tests.builders import config_document, score_of

_CHANNELS = 256
#: Bytes of one convolution's weights.
_LAYER = _CHANNELS * _CHANNELS * 9 * 4


def write_weighty(folder: Path, size: int, code: int = 1) -> Path:
    """Write a version with about `size` bytes of weights, whose answers tell `code`; return its folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "weights.onnx").write_bytes(_graph(size // _LAYER, code).SerializeToString())
    (folder / "config.json").write_text(json.dumps(config_document()))
    return folder


def _graph(layers: int, code: int) -> onnx.ModelProto:
    random = np.random.default_rng(code)
    first = random.standard_normal((_CHANNELS, 3, 8, 8)).astype(np.float32) / 16
    weights = {"first": first, "nothing": np.float32(0), "last": np.array([1], np.int64)}
    weights["scores_of_code"] = np.array([[score_of(code), 0.0]], np.float32)
    nodes = [helper.make_node("Conv", ["image", "first"], ["map"], strides=[8, 8])]
    maps = "map"
    for number in range(layers):
        weights[f"w{number}"] = (random.standard_normal((_CHANNELS, _CHANNELS, 3, 3)) / 48).astype(np.float32)
        nodes.append(helper.make_node("Conv", [maps, f"w{number}"], [f"c{number}"], pads=[1] * 4))
        nodes.append(helper.make_node("Relu", [f"c{number}"], [f"r{number}"]))
        maps = f"r{number}"
    nodes += [
        helper.make_node("ReduceMean", [maps], ["grey"], axes=[1, 2, 3], keepdims=0),
        helper.make_node("Mul", ["grey", "nothing"], ["dark"]),
        helper.make_node("Unsqueeze", ["dark", "last"], ["column"]),
        helper.make_node("Add", ["column", "scores_of_code"], ["scores"]),
    ]
    body = helper.make_graph(
        nodes,
        "weighty",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", 3, 32, 32])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["N", 2])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in weights.items()],
    )
    return helper.make_model(body, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
