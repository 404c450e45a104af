"""Family `generic`: the outputs of any graph, as they are.

Without `input` in the config a version takes tensors alone, under the names, types and shapes that its graph
declares; with it, pictures as well, and each output then has the batch as its first side.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated

from pydantic import Field

from hotswap.errors import ModelFailed
from hotswap.predictions import Options
from runners.families.base import Family, Found, Outputs, Parameters
from runners.geometry import Geometry

#: Kinds of numpy types that answers for pictures hold.
_NUMBERS = "biuf"
Sides = Annotated[list[Annotated[int, Field(ge=0, le=1_000_000)]], Field(max_length=32)]


class GenericParameters(Parameters):
    """How a version without pictures is checked."""

    check_shapes: Mapping[str, Sides] = Field(
        default={},
        max_length=256,
        description="shapes of the tensors that a version without `input` is checked on, by the name of the "
        "graph's input; default: as the graph declares, open sides 1",
    )


class Generic(Family[GenericParameters]):
    """Tensors in, tensors out, for any graph."""

    name = "generic"
    task = "tensors"
    schema = GenericParameters
    pictured = False
    labelled = False

    def reads(self, available: Sequence[str]) -> tuple[str, ...]:
        """See `Family.reads`: those in `output.names`, or all."""
        return tuple(self.config.output.names or available)

    def check(self, outputs: Outputs) -> None:
        """See `Family.check`: any shape, but numbers."""
        for name, array in outputs.items():
            if array.dtype.kind not in _NUMBERS:
                raise ModelFailed(
                    f"output {name} holds no numbers: answers for pictures cannot carry it; leave it out of "
                    "output.names, or leave out input to serve tensors alone"
                )

    def find(self, outputs: Outputs, geometry: Geometry, options: Options) -> Found:  # noqa: ARG002
        """See `Family.find`."""
        return Found(tensors=outputs)
