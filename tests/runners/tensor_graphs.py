"""Graphs without pictures: several inputs of several types, a loop, and outputs that are no tensors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tests.runners.graphs import as_model

GENERIC: dict[str, Any] = {"task": "tensors", "family": "generic"}
PICTURED = GENERIC | {"input": {"width": 8, "height": 8}}
_value = helper.make_tensor_value_info


def mixed(added: float = 1.0) -> onnx.ModelProto:
    """`sum` = `a` [N, 2] + `added`, `twice` = 2 `k` [N], `neither` = not `flag` [M]."""
    nodes = [
        helper.make_node("Add", ["a", "added"], ["sum"]),
        helper.make_node("Add", ["k", "k"], ["twice"]),
        helper.make_node("Not", ["flag"], ["neither"]),
    ]
    inputs = [
        _value("a", TensorProto.FLOAT, ["N", 2]),
        _value("k", TensorProto.INT64, ["N"]),
        _value("flag", TensorProto.BOOL, ["M"]),
    ]
    outputs = [
        _value("sum", TensorProto.FLOAT, ["N", 2]),
        _value("twice", TensorProto.INT64, ["N"]),
        _value("neither", TensorProto.BOOL, ["M"]),
    ]
    weights = [numpy_helper.from_array(np.array(added, np.float32), "added")]
    return as_model(helper.make_graph(nodes, "mixed", inputs, outputs, weights))


def looping() -> onnx.ModelProto:
    """`total` [] counts the turns of a loop, `n` [] in number, within a branch that `n` below 0 avoids."""
    turn = helper.make_graph(
        [helper.make_node("Identity", ["on"], ["goes"]), helper.make_node("Add", ["v", "one"], ["sum"])],
        "turn",
        [_value("i", TensorProto.INT64, []), _value("on", TensorProto.BOOL, []), _value("v", 1, [])],
        [_value("goes", TensorProto.BOOL, []), _value("sum", TensorProto.FLOAT, [])],
    )
    then = helper.make_graph(
        [helper.make_node("Loop", ["n", "", "start"], ["t"], body=turn)], "then", [], [_value("t", 1, [])]
    )
    other = helper.make_graph([helper.make_node("Neg", ["one"], ["e"])], "other", [], [_value("e", 1, [])])
    nodes = [
        helper.make_node("Less", ["n", "zero"], ["below"]),
        helper.make_node("Not", ["below"], ["not_below"]),
        helper.make_node("If", ["not_below"], ["total"], then_branch=then, else_branch=other),
    ]
    weights = [
        numpy_helper.from_array(np.array(0, np.int64), "zero"),
        numpy_helper.from_array(np.array(0, np.float32), "start"),
        numpy_helper.from_array(np.array(1, np.float32), "one"),
    ]
    graph = helper.make_graph(
        nodes, "looping", [_value("n", TensorProto.INT64, [])], [_value("total", 1, [])], weights
    )
    return as_model(graph)


def one_node(
    operator: str,
    shape: Sequence[int | str] | None = ("N", 2),
    *,
    takes: int = TensorProto.FLOAT,
    gives: int = TensorProto.FLOAT,
    sides: Sequence[int | str] | None = None,
    **attributes: Any,
) -> onnx.ModelProto:
    """`y` = operator(`x`), which are declared with these types; `y` with `sides`, any by default."""
    node = helper.make_node(operator, ["x"], ["y"], **attributes)
    graph = helper.make_graph([node], "one", [_value("x", takes, shape)], [_value("y", gives, sides)])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


def sequence() -> onnx.ModelProto:
    """`parts`, a sequence of tensors, and `whole`, the tensor `x` [N, 2] that they are cut from."""
    nodes = [
        helper.make_node("SplitToSequence", ["x"], ["parts"], axis=0),
        helper.make_node("Identity", ["x"], ["whole"]),
    ]
    parts = helper.make_tensor_sequence_value_info("parts", TensorProto.FLOAT, None)
    graph = helper.make_graph(
        nodes, "parts", [_value("x", 1, ["N", 2])], [parts, _value("whole", 1, ["N", 2])]
    )
    return as_model(graph)


def bright_places() -> onnx.ModelProto:
    """`places` [1, 4, K], where a picture [1, 3, 8, 8] is not black: K differs from picture to picture."""
    nodes = [
        helper.make_node("NonZero", ["x"], ["p"]),
        helper.make_node("Unsqueeze", ["p", "first"], ["places"]),
    ]
    weights = [numpy_helper.from_array(np.array([0], np.int64), "first")]
    inputs = [_value("x", TensorProto.FLOAT, [1, 3, 8, 8])]
    outputs = [_value("places", TensorProto.INT64, [1, 4, "K"])]
    return as_model(helper.make_graph(nodes, "places", inputs, outputs, weights))
