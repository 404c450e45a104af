"""Tiny graphs and artifacts for tests of the runners."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from hotswap.repository import Artifact
from manifest.tags import ModelTag
from manifest.version_manifest import parse_config
from runners.loader import OnnxLoader
from runners.onnx_runner import OnnxRunner

CLASSIFIER: dict[str, Any] = {
    "task": "image-classification",
    "family": "classifier",
    "input": {"width": 8, "height": 8},
    "labels": ["a", "b", "c"],
    "thresholds": {"score": 0.0},
}
SHAPES: dict[str, Any] = {
    "task": "object-detection",
    "family": "shapes",
    "input": {"width": 8, "height": 8},
    "labels": ["circle", "square"],
}
FASTESTDET: dict[str, Any] = SHAPES | {
    "family": "fastestdet",
    "output": {"parameters": {"objectness_exponent": 1.0, "class_exponent": 1.0}},
}


def constant_graph(
    outputs: Mapping[str, NDArray[Any]],
    *,
    shape: Sequence[int | str] = ("N", 3, 8, 8),
    dtype: int = TensorProto.FLOAT,
) -> onnx.ModelProto:
    """A graph that answers each picture of a batch with the same arrays (given without batch axis)."""
    nodes = [
        helper.make_node("Cast", ["image"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["floats"], ["grey"], axes=list(range(1, len(shape))), keepdims=0),
        helper.make_node("Mul", ["grey", "nothing"], ["zero"]),
    ]
    weights = [numpy_helper.from_array(np.array(0, np.float32), "nothing")]
    infos = []
    for name, array in outputs.items():
        weights += [
            numpy_helper.from_array(array[None].astype(np.float32), f"{name}.value"),
            numpy_helper.from_array(np.array([-1] + [1] * array.ndim, np.int64), f"{name}.sides"),
        ]
        nodes += [
            helper.make_node("Reshape", ["zero", f"{name}.sides"], [f"{name}.zero"]),
            helper.make_node("Add", [f"{name}.value", f"{name}.zero"], [name]),
        ]
        infos.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", *array.shape]))
    image = helper.make_tensor_value_info("image", dtype, list(shape))
    return as_model(helper.make_graph(nodes, "constant", [image], infos, weights))


def as_model(graph: onnx.GraphProto) -> onnx.ModelProto:
    """The graph as a model that every supported onnxruntime reads."""
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.checker.check_model(model)
    return model


def artifact(folder: Path, model: onnx.ModelProto | bytes, config: Mapping[str, Any]) -> Artifact:
    """A settled version `thing:v1` in this folder."""
    weights = folder / "weights.onnx"
    weights.write_bytes(model if isinstance(model, bytes) else model.SerializeToString())
    return Artifact(
        tag=ModelTag("thing", "v1"),
        path=folder,
        weights=weights,
        digest="sha256:" + "0" * 64,
        config=parse_config(json.dumps(dict(config))),
        created=datetime(2024, 1, 1, tzinfo=UTC),
        size_bytes=weights.stat().st_size,
    )


def load(folder: Path, model: onnx.ModelProto | bytes, config: Mapping[str, Any]) -> OnnxRunner:
    """Load such a version as the service does."""
    return OnnxLoader(max_pixels=1_000_000, thread_cap=1).load(artifact(folder, model, config))
