"""Family `adapter`: a team's own code answers, a class in a file below `adapters/`.

Its weights are this version's model file, which the code opens as it likes: no graph is opened here.
"""

from __future__ import annotations

from typing import NoReturn

from pydantic import Field

from hotswap.predictions import Options
from manifest.teams import AdapterPlace
from runners.families.base import Family, Outputs, Parameters
from runners.geometry import Geometry


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

    def check(self, outputs: Outputs) -> NoReturn:
        """See `Family.check`: there are no outputs of a graph."""
        raise NotImplementedError

    def find(self, outputs: Outputs, geometry: Geometry, options: Options) -> NoReturn:
        """See `Family.find`: there are no outputs of a graph."""
        raise NotImplementedError
