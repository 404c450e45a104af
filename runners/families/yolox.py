"""Family `yolox`: one row per cell of three grids.

The output is [N, 5 + C]: tx, ty, tw, th, objectness, then C class scores, the scores already activated.
Rows run over the cells of strides 8, 16 and 32 pixels, each grid row by row. Cell (x, y) of stride s predicts
the box with centre ((tx + x) s, (ty + y) s) and sides s exp tw, s exp th in pixels of the input; the score
is objectness * class. Formulas: demo_postprocess of Megvii-BaseDetection/YOLOX. An export with
`--decode_in_inference` applies them in the graph: the four values are centre and sides in pixels.
"""

from __future__ import annotations

import numpy as np
from pydantic import Field

from hotswap.predictions import Options
from manifest.version_manifest import ModelConfig
from runners.boxes import as_detections
from runners.families.base import Family, Found, Outputs, Parameters, expect, only
from runners.geometry import Geometry
from runners.grids import cells_of
from runners.interpolate import Floats
from runners.scores import best_classes

_BEFORE_CLASSES = 5
_STRIDES = (8, 16, 32)
# exp of a larger value is wider than any input, and would overflow.
_MOST = 20.0


class YoloXParameters(Parameters):
    """Whether the graph decodes its boxes."""

    decoded: bool = Field(default=False, description="exported with --decode_in_inference")


class YoloX(Family[YoloXParameters]):
    """YOLOX detectors: anchor-free, three scales."""

    name = "yolox"
    task = "object-detection"
    schema = YoloXParameters
    takes = ("nms_threshold",)

    def __init__(self, config: ModelConfig) -> None:
        """See `Family.__init__`."""
        super().__init__(config)
        self._cells, self._strides = cells_of(config.input.width, config.input.height, _STRIDES)
        self._size = np.array([config.input.width, config.input.height], np.float32)

    def check(self, outputs: Outputs) -> None:
        """See `Family.check`."""
        shape = only(outputs).shape
        expected = (len(self._cells), _BEFORE_CLASSES + len(self.config.labels))
        expect(
            shape == expected,
            f"{list(expected)} (family 'yolox': one row per cell, 5 + one column per label)",
            shape,
        )

    def find(self, outputs: Outputs, geometry: Geometry, options: Options) -> Found:
        """See `Family.find`."""
        rows = only(outputs)
        least = self.threshold(options)
        hits, scores, label_ids = best_classes(rows[:, 4], rows[:, _BEFORE_CLASSES:], least)
        return Found(
            as_detections(
                self._boxes(rows[hits, :4], hits),
                scores,
                label_ids,
                labels=self.config.labels,
                geometry=geometry,
                nms_iou=self.nms_iou(options),
                limit=options.max_detections,
            )
        )

    def _boxes(self, raw: Floats, hits: np.ndarray[tuple[int], np.dtype[np.intp]]) -> Floats:
        """Boxes [K, 4] in 0..1 of the input from the raw values [K, 4] of the rows with these indices."""
        centre, sides = raw[:, :2], raw[:, 2:]
        if not self.parameters.decoded:
            stride = self._strides[hits, None]
            centre = (centre + self._cells[hits]) * stride
            sides = np.exp(np.minimum(sides, _MOST)) * stride
        centre, half = centre / self._size, sides / (2 * self._size)
        boxes: Floats = np.concatenate([centre - half, centre + half], axis=1)
        return boxes
