"""Reads the interface of an ONNX file: inputs, outputs, operators, metadata. Nothing is loaded or run.

The fields are read from the protobuf wire format (onnx.proto), without an ONNX library; weights are
passed over unread, so a file of gigabytes takes no longer than a small one with as many nodes.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from common.text import plain
from runners.graph_check import GraphTensor, Side

#: Most protobuf fields that are read: a graph of 100,000 nodes has fewer.
_MOST_FIELDS = 3_000_000
#: Most bytes of one name, and of all metadata together.
_MOST_NAME = 1_000
_MOST_METADATA = 4_000_000
#: Most bytes of names and metadata together.
_MOST_TEXT = 64_000_000

#: TensorProto.DataType → onnxruntime's name of the type.
_TYPES = {
    1: "float",
    2: "uint8",
    3: "int8",
    4: "uint16",
    5: "int16",
    6: "int32",
    7: "int64",
    8: "string",
    9: "bool",
    10: "float16",
    11: "double",
    12: "uint32",
    13: "uint64",
    16: "bfloat16",
}
#: Operators that change neither the values nor what they mean.
_TRANSPARENT = {
    *("Identity", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Cast", "Transpose"),
    *("QuantizeLinear", "DequantizeLinear"),
}

#: A field's value: an integer, or where its bytes begin and end.
_Value = int | tuple[int, int]


class BadGraph(ValueError):
    """A file that is not an ONNX model, or too large in what must be read; the message says which."""


@dataclass(frozen=True, slots=True)
class Operator:
    """A node of the graph: its type and the names of its inputs."""

    type: str
    inputs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class OnnxGraph:
    """The interface of a graph. `makers` maps each tensor to the operator that makes it."""

    name: str
    producer: str
    inputs: tuple[GraphTensor, ...]
    outputs: tuple[GraphTensor, ...]
    metadata: Mapping[str, str]
    makers: Mapping[str, Operator]

    def operator_of(self, tensor: str) -> Operator | None:
        """The operator that computes a tensor, seen through those that only reshape or convert it."""
        for _ in range(len(self.makers)):
            operator = self.makers.get(tensor)
            if operator is None or operator.type not in _TRANSPARENT or not operator.inputs:
                return operator
            tensor = operator.inputs[0]
        return None

    def has(self, operator: str) -> bool:
        """Whether the graph has an operator of this type, subgraphs left out."""
        return any(maker.type == operator for maker in self.makers.values())


def read_graph(path: Path) -> OnnxGraph:
    """The interface of an ONNX file. Raises `BadGraph`, and `OSError` if it cannot be read."""
    with path.open("rb") as file:
        if path.stat().st_size == 0:
            raise BadGraph("it is empty")
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return _Reader(data).model()


class _Reader:
    """Reads one file; counts the fields that it has read."""

    def __init__(self, data: mmap.mmap) -> None:
        self.data = data
        self.fields_left = _MOST_FIELDS
        self.metadata_left = _MOST_METADATA
        self.text_left = _MOST_TEXT

    def model(self) -> OnnxGraph:
        """ModelProto: 2 producer_name, 7 graph, 14 metadata_props."""
        producer, graph, metadata = "", None, {}
        for number, value in self.fields((0, len(self.data))):
            if number == 2:
                producer = self.name(value)
            elif number == 7:
                graph = value
            elif number == 14:
                key, text = self.property(value)
                metadata[key] = text
        if graph is None:
            raise BadGraph("it has no graph")
        return self.graph(graph, producer, metadata)

    def graph(self, graph: _Value, producer: str, metadata: Mapping[str, str]) -> OnnxGraph:
        """GraphProto: 1 node, 2 name, 5 initializer, 11 input, 12 output, 15 sparse_initializer."""
        name = ""
        weights: set[str] = set()
        inputs: list[GraphTensor] = []
        outputs: list[GraphTensor] = []
        makers: dict[str, Operator] = {}
        for number, value in self.fields(graph):
            if number == 1:
                operator, made = self.node(value)
                makers |= dict.fromkeys(made, operator)
            elif number == 2:
                name = self.name(value)
            elif number == 5:
                weights.add(self.name_of(value, 8))
            elif number == 11:
                inputs.append(self.tensor(value))
            elif number == 12:
                outputs.append(self.tensor(value))
        if not outputs:
            raise BadGraph("its graph has no outputs")
        # Older exporters list the weights among the inputs too.
        fed = tuple(tensor for tensor in inputs if tensor.name not in weights)
        return OnnxGraph(name, producer, fed, tuple(outputs), metadata, makers)

    def node(self, value: _Value) -> tuple[Operator, list[str]]:
        """NodeProto: 1 input, 2 output, 4 op_type."""
        kind, inputs, outputs = "", [], []
        for number, field in self.fields(value):
            if number == 1:
                inputs.append(self.name(field))
            elif number == 2:
                outputs.append(self.name(field))
            elif number == 4:
                kind = self.name(field)
        return Operator(kind, tuple(inputs)), outputs

    def tensor(self, value: _Value) -> GraphTensor:
        """ValueInfoProto: 1 name, 2 type; TypeProto: 1 tensor_type; Tensor: 1 elem_type, 2 shape."""
        name, kind = "", "not a tensor"
        shape: tuple[Side, ...] = ()
        for number, field in self.fields(value):
            if number == 1:
                name = self.name(field)
            elif number == 2:
                for which, tensor in self.fields(field):
                    if which == 1:
                        kind, shape = self.tensor_type(tensor)
        return GraphTensor(name, kind, shape)

    def tensor_type(self, value: _Value) -> tuple[str, tuple[Side, ...]]:
        kind = 0
        shape: tuple[Side, ...] = ()
        for number, field in self.fields(value):
            if number == 1 and isinstance(field, int):
                kind = field
            elif number == 2:
                shape = tuple(self.side(dim) for which, dim in self.fields(field) if which == 1)
        return f"tensor({_TYPES.get(kind, kind)})", shape

    def side(self, value: _Value) -> Side:
        """Dimension: 1 dim_value, 2 dim_param. A side of no positive number is open."""
        for number, field in self.fields(value):
            if number == 1 and isinstance(field, int):
                return field if 0 < field < 1 << 32 else None
            if number == 2:
                return self.name(field) or None
        return None

    def property(self, value: _Value) -> tuple[str, str]:
        """StringStringEntryProto: 1 key, 2 value."""
        key = text = ""
        for number, field in self.fields(value):
            if number == 1:
                key = self.name(field)
            elif number == 2:
                text = self.text(field, self.metadata_left, "metadata")
                self.metadata_left -= len(text)
        return key, text

    def name_of(self, value: _Value, wanted: int) -> str:
        """The name in the field `wanted` of a message."""
        return next((self.name(field) for number, field in self.fields(value) if number == wanted), "")

    def name(self, value: _Value) -> str:
        return self.text(value, _MOST_NAME, "name")

    def text(self, value: _Value, most: int, what: str) -> str:
        if isinstance(value, int):
            raise BadGraph("it is not an ONNX graph")
        start, end = value
        if end - start > most:
            raise BadGraph(f"it holds a {what} of {end - start} bytes; {most} are allowed")
        self.text_left -= end - start
        if self.text_left < 0:
            raise BadGraph(f"its names and metadata have more than {_MOST_TEXT} bytes")
        return self.data[start:end].decode("utf-8", "replace")

    def fields(self, message: _Value) -> Iterator[tuple[int, _Value]]:
        """Number and value of each field of a message."""
        if isinstance(message, int):
            raise BadGraph("it is not an ONNX graph")
        place, end = message
        while place < end:
            key, place = self.varint(place, end)
            kind = key & 7
            if kind == 0:
                value, place = self.varint(place, end)
                yield key >> 3, value
                continue
            size, place = self.varint(place, end) if kind == 2 else ({1: 8, 5: 4}.get(kind, end), place)
            if size > end - place:
                raise BadGraph("it is truncated, or not an ONNX graph")
            yield key >> 3, (place, place + size)
            place += size

    def varint(self, place: int, end: int) -> tuple[int, int]:
        """An integer of 7 bits a byte, and the place after it."""
        self.fields_left -= 1
        if self.fields_left < 0:
            raise BadGraph(f"its graph has more than {_MOST_FIELDS} fields")
        value = 0
        for shift in range(0, 70, 7):
            if place >= end:
                break
            byte = self.data[place]
            place += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value, place
        raise BadGraph("it is truncated, or not an ONNX graph")


def text_of(tensor: GraphTensor) -> str:
    """Name and shape of a tensor, for people."""
    sides = ", ".join("?" if side is None else plain(str(side), 40) for side in tensor.shape)
    return f"{plain(tensor.name, 100)} [{sides}]"
