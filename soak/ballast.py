"""Weights that a graph carries and does not need, so that a small model takes as much memory as a large one.

An ONNX file is one protobuf message (https://onnx.ai/onnx/repo-docs/IR.html), and messages that follow each
other in a file are merged (https://protobuf.dev/programming-guides/encoding/#last-one-wins): what is appended
here are nodes, weights and an output `ballast` of the graph, which no family asks for.
"""

from __future__ import annotations

_FLOAT = 1
#: Numbers of fields in onnx.proto, by message.
_MODEL_GRAPH, _GRAPH_NODE, _GRAPH_WEIGHTS, _GRAPH_OUTPUT = 7, 1, 5, 12
_NODE_INPUT, _NODE_OUTPUT, _NODE_OPERATOR = 1, 2, 4
_TENSOR_SIDES, _TENSOR_TYPE, _TENSOR_NAME, _TENSOR_BYTES = 1, 2, 8, 9
_VALUE_NAME, _VALUE_TYPE, _TYPE_TENSOR, _TENSOR_KIND, _TENSOR_SHAPE = 1, 2, 1, 1, 2
_SHAPE_SIDE, _SIDE_VALUE = 1, 1


def with_ballast(model: bytes, size: int, picture: str) -> bytes:
    """An ONNX file with about `size` bytes of weights more; `picture` is an input of its graph."""
    count = max(1, size // 4)
    weights = (
        _number(_TENSOR_SIDES, count)
        + _number(_TENSOR_TYPE, _FLOAT)
        + _text(_TENSOR_NAME, "ballast_weights")
        + _bytes(_TENSOR_BYTES, bytes(range(1, 57)) * (4 * count // 56) + bytes(4 * count % 56))
    )
    shape = _bytes(_SHAPE_SIDE, _number(_SIDE_VALUE, count))
    kind = _bytes(_TYPE_TENSOR, _number(_TENSOR_KIND, _FLOAT) + _bytes(_TENSOR_SHAPE, shape))
    graph = (
        # They depend on the picture, so that no optimiser computes them beforehand.
        _bytes(_GRAPH_NODE, _node("ReduceMax", (picture,), "ballast_most"))
        + _bytes(_GRAPH_NODE, _node("Max", ("ballast_weights", "ballast_most"), "ballast_flat"))
        + _bytes(_GRAPH_NODE, _node("Squeeze", ("ballast_flat",), "ballast"))
        + _bytes(_GRAPH_WEIGHTS, weights)
        + _bytes(_GRAPH_OUTPUT, _text(_VALUE_NAME, "ballast") + _bytes(_VALUE_TYPE, kind))
    )
    return model + _bytes(_MODEL_GRAPH, graph)


def _node(operator: str, inputs: tuple[str, ...], output: str) -> bytes:
    named = b"".join(_text(_NODE_INPUT, each) for each in inputs)
    return named + _text(_NODE_OUTPUT, output) + _text(_NODE_OPERATOR, operator)


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _text(field: int, value: str) -> bytes:
    return _bytes(field, value.encode())


def _bytes(field: int, value: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(value)) + value


def _varint(value: int) -> bytes:
    digits = bytearray()
    while value > 0x7F:
        digits.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*digits, value])
