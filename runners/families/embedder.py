"""Family `embedder`: one vector per picture; similar pictures have vectors of similar direction."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from hotswap.errors import ModelFailed
from hotswap.predictions import Options
from runners.families.base import Family, Found, Outputs, Parameters, expect, only
from runners.geometry import Geometry


class EmbedderParameters(Parameters):
    """How to turn the output into a vector."""

    pooling: Literal["none", "first", "mean"] = Field(
        default="none",
        description="none: the output [N, D] is the vector (axes of length 1 are dropped); first: the first "
        "of the rows [N, T, D], such as a class token; mean: their mean",
    )
    l2: bool = Field(default=True, description="scale the vector to length 1")
    dimension: int | None = Field(default=None, ge=1, description="D; default: any")


class Embedder(Family[EmbedderParameters]):
    """Any encoder of whole pictures. Cosine similarity is the dot product of two vectors of length 1."""

    name = "embedder"
    task = "image-embedding"
    schema = EmbedderParameters
    labelled = False

    def check(self, outputs: Outputs) -> None:
        """See `Family.check`."""
        array, expected = only(outputs), self.parameters.dimension
        if self.parameters.pooling == "none":
            plain = sum(side != 1 for side in array.shape) <= 1
            expect(plain and array.size > 0, "[D] (or set output.parameters.pooling)", array.shape)
            dimension = array.size
        else:
            expect(array.ndim == 2 and array.size > 0, "[T, D] (rows to pool)", array.shape)
            dimension = array.shape[1]
        if expected not in (None, dimension):
            raise ModelFailed(f"the vector should have {expected} values, found {dimension}")

    def find(self, outputs: Outputs, geometry: Geometry, options: Options) -> Found:  # noqa: ARG002
        """See `Family.find`."""
        vector = self._pooled(only(outputs).astype(np.float32))
        if self.parameters.l2:
            length = float(np.linalg.norm(vector))
            if length == 0:
                raise ModelFailed("the vector is zero: it has no direction")
            vector = vector / np.float32(length)
        return Found(embedding=vector)

    def _pooled(self, array: NDArray[np.float32]) -> NDArray[np.float32]:
        if self.parameters.pooling == "none":
            return array.ravel()
        if self.parameters.pooling == "first":
            return np.asarray(array[0])
        return np.asarray(array.mean(axis=0, dtype=np.float32))
