"""Writes trained parameters as a plain ONNX file and proves that it answers as jax does."""

from pathlib import Path
from typing import Any

import jax
import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from .decoding import GRID, SIDE
from .drawing import LABELS
from .network import LAYERS, JaxOps, Params, kernel, predictions

OPSET = 17
IR_VERSION = 8
CLOSE = 1e-3
NEAREST = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}


class OnnxOps:
    """Records the network as ONNX nodes; its values are the names of tensors."""

    def __init__(self, params: Params) -> None:
        self._params = params
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def conv(self, name: str, value: str) -> str:
        layer, params = LAYERS[name], self._params[name]
        weight = np.asarray(kernel(params)).transpose(3, 2, 0, 1)
        inputs = [value, self._constant(f"{name}.weight", weight)]
        inputs.append(self._constant(f"{name}.bias", np.asarray(params["bias"])))
        pads, strides = [layer.kernel // 2] * 4, [layer.stride] * 2
        return self._node("Conv", inputs, name, pads=pads, strides=strides)

    def relu(self, value: str) -> str:
        return self._node("Relu", [value])

    def add(self, first: str, second: str) -> str:
        return self._node("Add", [first, second])

    def double(self, value: str) -> str:
        scales = self._constant("double", np.array([1, 1, 2, 2], np.float32))
        return self._node("Resize", [value, "", scales], mode="nearest", **NEAREST)

    def softplus(self, value: str, scale: float) -> str:
        factor = self._constant("distance_unit", np.array(scale, np.float32))
        return self._node("Mul", [self._node("Softplus", [value]), factor])

    def sigmoid(self, value: str) -> str:
        return self._node("Sigmoid", [value])

    def join(self, first: str, second: str) -> str:
        return self._node("Concat", [first, second], "predictions", axis=1)

    def _constant(self, name: str, value: np.ndarray) -> str:
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def _node(self, kind: str, inputs: list[str], output: str = "", **attributes: Any) -> str:
        output = output or f"{kind.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [output], output, **attributes))
        return output


def to_onnx(params: Params) -> onnx.ModelProto:
    """The trained network as a checked ONNX model, any batch size."""
    ops = OnnxOps(params)
    output = predictions(ops, "image")
    shapes: dict[str, list[str | int | None]] = {
        "image": ["N", 3, SIDE, SIDE],
        output: ["N", 4 + len(LABELS), GRID, GRID],
    }
    image, answer = (
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes.items()
    )
    graph = helper.make_graph(ops.nodes, "shapes", [image], [answer], ops.constants)
    opsets = [helper.make_opsetid("", OPSET)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION)
    onnx.checker.check_model(model, full_check=True)
    return model


def difference(params: Params, weights: Path, seed: int = 0) -> float:
    """The largest difference between jax's and onnxruntime's answers to random pictures."""
    images = np.random.default_rng(seed).random((8, 3, SIDE, SIDE), np.float32)
    session = onnxruntime.InferenceSession(weights, providers=["CPUExecutionProvider"])
    served = session.run(["predictions"], {"image": images})[0]
    trained = jax.jit(lambda value: predictions(JaxOps(params), value))(images.transpose(0, 2, 3, 1))
    return float(np.abs(np.asarray(trained).transpose(0, 3, 1, 2) - served).max())


def write(params: Params, weights: Path) -> None:
    """Put the model at `weights`, whole or not at all; refuse one that answers otherwise."""
    weights.parent.mkdir(parents=True, exist_ok=True)
    fresh = weights.with_suffix(".part")
    onnx.save(to_onnx(params), fresh)
    if (apart := difference(params, fresh)) >= CLOSE:
        raise ValueError(f"onnxruntime answers differently from jax, by {apart:.2g}")
    fresh.replace(weights)
