"""A model that reads all its weights for each picture: a row of convolutions, or of matrix products."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tests.builders import config_document, score_of

_CHANNELS, _WIDTH = 256, 1024
Kind = Literal["convolutions", "matrices"]
#: Bytes of one layer's weights.
_LAYER = {"convolutions": _CHANNELS * _CHANNELS * 9 * 4, "matrices": _WIDTH * _WIDTH * 4}


def write_weighty(folder: Path, size: int, code: int = 1, kind: Kind = "convolutions") -> Path:
    """Write a version with about `size` bytes of weights, whose answers tell `code`; return its folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "weights.onnx").write_bytes(_graph(size // _LAYER[kind], code, kind).SerializeToString())
    (folder / "config.json").write_text(json.dumps(config_document()))
    return folder


def _graph(layers: int, code: int, kind: Kind) -> onnx.ModelProto:
    weights: dict[str, Any] = {"nothing": np.float32(0), "sides": np.array([0, -1], np.int64)}
    weights["last"] = np.array([1], np.int64)
    weights["scores_of_code"] = np.array([[score_of(code), 0.0]], np.float32)
    add = _convolutions if kind == "convolutions" else _matrices
    nodes = add(layers, weights, np.random.default_rng(code))
    nodes += [
        helper.make_node("Reshape", ["trunk", "sides"], ["flat"]),
        helper.make_node("ReduceMean", ["flat"], ["grey"], axes=[1], keepdims=0),
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


def _convolutions(layers: int, weights: dict[str, Any], random: np.random.Generator) -> list[onnx.NodeProto]:
    weights["first"] = random.standard_normal((_CHANNELS, 3, 8, 8)).astype(np.float32) / 16
    nodes = [helper.make_node("Conv", ["image", "first"], ["l0"], strides=[8, 8])]
    for number in range(layers):
        weights[f"w{number}"] = (random.standard_normal((_CHANNELS, _CHANNELS, 3, 3)) / 48).astype(np.float32)
        nodes.append(helper.make_node("Conv", [f"l{number}", f"w{number}"], [f"c{number}"], pads=[1] * 4))
        nodes.append(helper.make_node("Relu", [f"c{number}"], [f"l{number + 1}"]))
    return [*nodes, helper.make_node("Identity", [f"l{layers}"], ["trunk"])]


def _matrices(layers: int, weights: dict[str, Any], random: np.random.Generator) -> list[onnx.NodeProto]:
    weights["first"] = random.standard_normal((3 * 32 * 32, _WIDTH)).astype(np.float32) / 55
    nodes = [
        helper.make_node("Reshape", ["image", "sides"], ["row"]),
        helper.make_node("MatMul", ["row", "first"], ["l0"]),
    ]
    for number in range(layers):
        weights[f"w{number}"] = (random.standard_normal((_WIDTH, _WIDTH)) / 32).astype(np.float32)
        nodes.append(helper.make_node("MatMul", [f"l{number}", f"w{number}"], [f"c{number}"]))
        nodes.append(helper.make_node("Tanh", [f"c{number}"], [f"l{number + 1}"]))
    return [*nodes, helper.make_node("Identity", [f"l{layers}"], ["trunk"])]
