"""Family `fastestdet`: one feature map; each cell predicts at most one object.

The output is [5 + C, H, W]: objectness, tx, ty, tw, th, then C class probabilities, all but the box
already activated. Cell (x, y) predicts the box with centre ((x + tanh tx) / W, (y + tanh ty) / H) and
sides sigmoid tw, sigmoid th. Versions differ in the score: objectness^a * class^b.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from hotswap.predictions import Options
from runners.boxes import as_detections
from runners.families.base import Family, Found, Outputs, Parameters, expect, only
from runners.geometry import Geometry
from runners.interpolate import Floats
from runners.scores import as_scores

_BEFORE_CLASSES = 5


class FastestDetParameters(Parameters):
    """The exponents of the score. They have no default: the tensors of v1 and v2 look alike."""

    objectness_exponent: float = Field(ge=0, le=10, description="1 in v1, 0.6 in v2")
    class_exponent: float = Field(ge=0, le=10, description="1 in v1, 0.4 in v2")


class FastestDet(Family[FastestDetParameters]):
    """FastestDet detectors: anchor-free, one scale."""

    name = "fastestdet"
    task = "object-detection"
    schema = FastestDetParameters
    takes = ("nms_threshold",)

    def check(self, outputs: Outputs) -> None:
        """See `Family.check`."""
        shape = only(outputs).shape
        channels = _BEFORE_CLASSES + len(self.config.labels)
        fits = len(shape) == 3 and shape[0] == channels
        expect(fits, f"[{channels}, H, W] (5 + one channel per label)", shape)

    def find(self, outputs: Outputs, geometry: Geometry, options: Options) -> Found:
        """See `Family.find`."""
        grid = only(outputs)
        cells = grid.reshape(len(grid), -1)
        label_ids = cells[_BEFORE_CLASSES:].argmax(axis=0)
        scores = self._scores(cells, label_ids)
        hits = np.flatnonzero(scores >= self.threshold(options))
        return Found(
            as_detections(
                _boxes(cells[1:5, hits], hits, grid.shape[1:]),
                scores[hits],
                label_ids[hits],
                labels=self.config.labels,
                geometry=geometry,
                nms_iou=self.nms_iou(options),
                limit=options.max_detections,
            )
        )

    def _scores(self, cells: Floats, label_ids: NDArray[np.intp]) -> Floats:
        best = cells[_BEFORE_CLASSES + label_ids, np.arange(cells.shape[1])]
        objectness, best = as_scores(cells[0], "objectness"), as_scores(best, "class scores")
        product: Floats = (
            objectness**self.parameters.objectness_exponent * best**self.parameters.class_exponent
        )
        return product


def _boxes(raw: Floats, cells: NDArray[np.intp], shape: tuple[Any, ...]) -> Floats:
    """Boxes [K, 4] in 0..1 of the input from the raw values [4, K] of the cells with these indices."""
    rows, columns = np.divmod(cells, shape[1])
    offsets = np.tanh(raw[:2])
    centre = (np.stack([columns, rows]) + offsets) / np.array([[shape[1]], [shape[0]]])
    # The sigmoid is computed by tanh, which cannot overflow.
    half = 0.25 * (1 + np.tanh(raw[2:] / 2))
    boxes: Floats = np.concatenate([centre - half, centre + half]).T
    return boxes
