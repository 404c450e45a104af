"""A graph as the rules of families see it, and what a rule answers. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from models_import.export_metadata import ExportMetadata, InferredValue, Source
from models_import.layout import WEIGHTS_FILE
from models_import.onnx_graph import OnnxGraph
from runners.graph_check import GraphTensor, Side
from runners.grids import count_of

#: Of detectors with a grid for each.
STRIDES = (8, 16, 32)
#: An output that names the vectors of patches, the class token first.
HIDDEN_STATES = "last_hidden_state"


@dataclass(frozen=True, slots=True)
class Export:
    """A graph with what its export says of itself. `size` is width and height, None if they are open.

    `file` is its name, `beside` are the other graphs in its folder, by theirs.
    """

    graph: OnnxGraph
    metadata: ExportMetadata
    size: tuple[int, int] | None
    chosen: bool = False
    file: str = WEIGHTS_FILE
    beside: Mapping[str, OnnxGraph] = field(default_factory=dict)

    @property
    def outputs(self) -> Sequence[GraphTensor]:
        return self.graph.outputs

    def operator(self, tensor: GraphTensor) -> str:
        """The type of the operator that computes a tensor; empty if there is none."""
        operator = self.graph.operator_of(tensor.name)
        return operator.type if operator else ""

    def operators_into(self, tensor: GraphTensor) -> set[str]:
        """The types of the operators that compute the inputs of that operator."""
        operator = self.graph.operator_of(tensor.name)
        into = [self.graph.operator_of(name) for name in operator.inputs] if operator else []
        return {each.type for each in into if each}

    def cells(self, strides: Sequence[int]) -> int | None:
        """The number of cells of these strides; None for an open size."""
        if self.size is None:
            return None
        return count_of(*self.size, strides)


@dataclass(frozen=True, slots=True)
class Match:
    """A family that fits. `label_count` is None where the graph leaves it open or has no labels.

    `labels` are those that every export of the family has, `size` is the width and height of every export.
    `like` names the known export that it resembles, in a family of many.
    """

    family: str
    findings: tuple[InferredValue, ...]
    label_count: int | None = None
    labels: tuple[str, ...] = ()
    size: tuple[int, int] | None = None
    like: str = ""


Rule = Callable[[Export], Match | None]


def found(
    family: str,
    why: str,
    outputs: Sequence[GraphTensor],
    others: Sequence[str] = (),
    source: Source = "graph",
) -> tuple[InferredValue, ...]:
    """The family, and the outputs that it reads; with `others`, which would do too, they are a choice."""
    names = [tensor.name for tensor in outputs]
    chosen = "the outputs of the family"
    reads = InferredValue("output.names", names, "graph", chosen)
    if others:
        reads = InferredValue("output.names", names, "assumption", f"would do too: {', '.join(others)}")
    return InferredValue("family", family, source, why), reads


def only(export: Export, rank: int) -> GraphTensor | None:
    """The only output of the graph, if it has this number of axes."""
    first, *others = export.outputs
    return first if not others and len(first.shape) == rank else None


def is_vector(tensor: GraphTensor) -> bool:
    """Whether a tensor [N, D] is one vector per picture; axes of length 1 do not count."""
    return len(tensor.shape) > 1 and sum(side != 1 for side in tensor.shape[1:]) <= 1


def length_of(tensor: GraphTensor) -> int | None:
    """D of a vector [N, D]; None for an open one."""
    side = next((side for side in tensor.shape[1:] if side != 1), 1)
    return side if isinstance(side, int) else None


def columns_of(side: Side, before: int) -> int | None:
    """The number of labels in an axis with `before` other values; None if there is none."""
    return side - before if isinstance(side, int) and side > before else None


def words(name: str) -> set[str]:
    return set(re.findall(r"[a-z]+", name.lower()))
