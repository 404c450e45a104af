"""Family `spots`: the hottest cell of a map, for each label.

The output is [N, C, h, w] in 0..1: one map for each of C labels, of h times w cells. A detection is the cell
with the greatest value of its map, the score that value.
"""

from __future__ import annotations

import numpy as np
from pydantic import Field

from okawari import Family, Found, Geometry, Options, Outputs, Parameters, as_detections, expect, only


class SpotsParameters(Parameters):
    """`output.parameters` of config.json."""

    border: int = Field(default=0, ge=0, le=16, description="cells at each edge that are not looked at")


class Spots(Family[SpotsParameters]):
    """The hottest cell of a map, for each label."""

    name = "spots"
    task = "object-detection"
    schema = SpotsParameters

    def check(self, outputs: Outputs) -> None:
        """One map for each label, in which a cell is left within the border."""
        shape, count, least = only(outputs).shape, len(self.config.labels), 2 * self.parameters.border + 1
        fits = len(shape) == 3 and shape[0] == count and min(shape[1:]) >= least
        expect(fits, f"[{count}, h, w] (one map per label), h and w at least {least}", shape)

    def find(self, outputs: Outputs, geometry: Geometry, options: Options) -> Found:
        """The cell of each label whose value reaches the threshold, as a box of the picture."""
        maps = only(outputs).astype(np.float64)
        _, rows, columns = maps.shape
        border = self.parameters.border
        inner = maps[:, border : rows - border, border : columns - border]
        best = inner.reshape(len(maps), -1).argmax(axis=1)
        row, column = (place + border for place in np.unravel_index(best, inner.shape[1:]))
        scores = maps[np.arange(len(maps)), row, column]
        corners = (column / columns, row / rows, (column + 1) / columns, (row + 1) / rows)
        hot = np.flatnonzero(scores >= self.threshold(options))
        return Found(
            as_detections(
                np.stack(corners, axis=1)[hot],
                scores[hot],
                hot,
                labels=self.config.labels,
                geometry=geometry,
                nms_iou=self.nms_iou(options),
                limit=options.max_detections,
            )
        )
