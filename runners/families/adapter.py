"""Family `adapter`: a team's own code answers, a class in a file below `adapters/`.

Its weights are this version's model file, which the code opens as it likes: no graph is opened here.
"""

from __future__ import annotations

from typing import NoReturn

from pydantic import Field

from hotswap.errors import ModelFailed
from hotswap.predictions import Options
from manifest.teams import AdapterPlace
from runners.families.base import Family, Outputs, Parameters
from runners.geometry import Geometry

_NO_GRAPH = "an adapter answers by itself: it has no outputs of a graph"


class AdapterParameters(Parameters):
    """Which code answers."""

    adapter: AdapterPlace = Field(
        description="a file below adapters/ without .py, and a class behind a colon where it has several"
    )


class Adapter(Family[AdapterParameters]):
    """A team's own code; what it gives for a picture is the answer."""

    name = "adapter"
    task = "custom"
    schema = AdapterParameters
    pictured = False
    labelled = False

    def check(self, outputs: Outputs) -> NoReturn:  # noqa: ARG002 - the interface of families
        """See `Family.check`: there are no outputs of a graph."""
        raise ModelFailed(_NO_GRAPH)

    def find(self, outputs: Outputs, geometry: Geometry, options: Options) -> NoReturn:  # noqa: ARG002
        """See `Family.find`: there are no outputs of a graph."""
        raise ModelFailed(_NO_GRAPH)
