"""Family `shapes`: a small anchor-free detector whose outputs are already activated.

The output `predictions` is [4 + C, H, W]: the distances from the cell's centre to the left, top, right
and bottom side in 0..1 of the input's sides, then C class scores. The centre of cell (x, y) is
((x + 0.5) / W, (y + 0.5) / H); each cell predicts at most one object, of its best class.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hotswap.predictions import Options
from runners.boxes import as_detections
from runners.families.base import Family, Found, Outputs, Parameters, expect, only
from runners.geometry import Geometry
from runners.interpolate import Floats
from runners.scores import as_scores

_BEFORE_CLASSES = 4
_OUTPUT = "predictions"


class Shapes(Family[Parameters]):
    """Okawari's own demo detectors."""

    name = "shapes"
    task = "object-detection"
    takes = ("nms_threshold",)

    def reads(self, available: Sequence[str]) -> tuple[str, ...]:
        """The output in `output.names`, else `predictions`, else the only one."""
        if self.config.output.names is None and _OUTPUT in available:
            return (_OUTPUT,)
        return super().reads(available)

    def check(self, outputs: Outputs) -> None:
        """See `Family.check`."""
        shape = only(outputs).shape
        channels = _BEFORE_CLASSES + len(self.config.labels)
        fits = len(shape) == 3 and shape[0] == channels
        expect(fits, f"[{channels}, H, W] (4 + one channel per label)", shape)

    def find(self, outputs: Outputs, geometry: Geometry, options: Options) -> Found:
        """See `Family.find`."""
        grid = only(outputs)
        cells = grid.reshape(len(grid), -1)
        label_ids = cells[_BEFORE_CLASSES:].argmax(axis=0)
        best = cells[_BEFORE_CLASSES + label_ids, np.arange(cells.shape[1])]
        scores = as_scores(best, "class scores")
        hits = np.flatnonzero(scores >= self.threshold(options))
        return Found(
            as_detections(
                _boxes(cells[:4, hits], hits, grid.shape[1:]),
                scores[hits],
                label_ids[hits],
                labels=self.config.labels,
                geometry=geometry,
                nms_iou=self.nms_iou(options),
                limit=options.max_detections,
            )
        )


def _boxes(distances: Floats, cells: NDArray[np.intp], shape: tuple[Any, ...]) -> Floats:
    """Boxes [K, 4] in 0..1 of the input from the distances [4, K] of the cells with these indices."""
    rows, columns = np.divmod(cells, shape[1])
    centre = np.stack([(columns + 0.5) / shape[1], (rows + 0.5) / shape[0]])
    boxes: Floats = np.concatenate([centre - distances[:2], centre + distances[2:]]).T
    return boxes
