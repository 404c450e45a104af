"""Classifiers whose graphs also give other outputs: constants of many datatypes, and what is no tensor."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from tests import builders

#: Output name → what it always gives.
CONSTANTS: dict[str, NDArray[Any]] = {
    "bool": np.array([True, False]),
    "uint8": np.array([0, 255], np.uint8),
    "uint16": np.array([0, 2**16 - 1], np.uint16),
    "uint32": np.array([0, 2**32 - 1], np.uint32),
    "uint64": np.array([0, 2**64 - 1], np.uint64),
    "int8": np.array([-128, 127], np.int8),
    "int16": np.array([-(2**15), 2**15 - 1], np.int16),
    "int32": np.array([-(2**31), 2**31 - 1], np.int32),
    "int64": np.array([[-(2**63)], [2**63 - 1]], np.int64),
    "fp16": np.array([0.5, 65504], np.float16),
    "fp32": np.array([0.1, -3e38], np.float32),
    "fp64": np.array([0.1, -1e308], np.float64),
    "bytes": np.array(["å", ""], object),
    "nan": np.array([np.nan, np.inf], np.float32),
    "wide": np.linspace(0, 1, 50_000, dtype=np.float32).reshape(100, 500),
}


def write(folder: Path) -> Path:
    """Write `<folder>/types/v1`; return that folder."""
    home = builders.write_version(folder, "types", "v1", 4)
    model = builders.graph(4)
    for name, value in CONSTANTS.items():
        constant = numpy_helper.from_array(value, name)
        node = helper.make_node("Constant", [], [name], value=constant)
        model.graph.node.append(node)
        kind = TensorProto.STRING if name == "bytes" else constant.data_type
        model.graph.output.append(helper.make_tensor_value_info(name, kind, value.shape))
    (home / "weights.onnx").write_bytes(model.SerializeToString())
    config = json.loads((home / "config.json").read_text())
    (home / "config.json").write_text(json.dumps(config))
    return home


def write_odd(folder: Path) -> Path:
    """Write `<folder>/odd/v1`; return that folder.

    Beside the scores it gives `flat` [1, 3072], which fails for another number of rows, `list`, a sequence,
    and `brain`, a BF16 tensor.
    """
    home = builders.write_version(folder, "odd", "v1", 6)
    model = builders.graph(6)
    model.graph.initializer.append(numpy_helper.from_array(np.array([1, 3072]), "one_row"))
    nodes = [
        helper.make_node("Reshape", ["image", "one_row"], ["flat"]),
        helper.make_node("SequenceConstruct", ["scores"], ["list"]),
        helper.make_node("Cast", ["scores"], ["brain"], to=TensorProto.BFLOAT16),
    ]
    others = [
        helper.make_tensor_value_info("flat", TensorProto.FLOAT, [1, 3072]),
        helper.make_tensor_sequence_value_info("list", TensorProto.FLOAT, None),
        helper.make_tensor_value_info("brain", TensorProto.BFLOAT16, ["N", 2]),
    ]
    model.graph.node.extend(nodes)
    model.graph.output.extend(others)
    (home / "weights.onnx").write_bytes(model.SerializeToString())
    return home
