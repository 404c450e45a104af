"""Family `yolov5`: one row per anchor of three grids, with an objectness.

The output is [A, 5 + C]: centre and sides in pixels of the input, objectness and C class scores, all
decoded and activated in the graph; A is three anchors for each cell of strides 8, 16 and 32. The score is
objectness * class (export.py and models/yolo.py of ultralytics/yolov5, commit 0041a670). Exports call the
output `output`, `output0` or by a number.
"""

from __future__ import annotations

import numpy as np

from hotswap.predictions import Options
from manifest.version_manifest import ModelConfig, Thresholds
from runners.boxes import as_detections, from_centres
from runners.families.base import Family, Found, Outputs, Parameters, expect, only
from runners.geometry import Geometry
from runners.grids import count_of
from runners.scores import best_classes

_STRIDES = (8, 16, 32)
_ANCHORS = 3
_BEFORE_CLASSES = 5


class YoloV5(Family[Parameters]):
    """YOLOv5 detectors."""

    name = "yolov5"
    task = "object-detection"
    takes = ("nms_threshold",)
    usual_thresholds = Thresholds(score=0.25, nms_iou=0.45)

    def __init__(self, config: ModelConfig) -> None:
        """See `Family.__init__`."""
        super().__init__(config)
        width, height = config.input.width, config.input.height
        self._anchors = _ANCHORS * count_of(width, height, _STRIDES)
        self._size = np.array([width, height] * 2, np.float32)

    def check(self, outputs: Outputs) -> None:
        """See `Family.check`."""
        shape = only(outputs).shape
        expected = (self._anchors, _BEFORE_CLASSES + len(self.config.labels))
        expect(shape == expected, f"{list(expected)} (one row per anchor, 5 + one column per label)", shape)

    def find(self, outputs: Outputs, geometry: Geometry, options: Options) -> Found:
        """See `Family.find`."""
        rows, least = only(outputs), self.threshold(options)
        hits, scores, labels = best_classes(rows[:, 4], rows[:, _BEFORE_CLASSES:], least)
        return Found(
            as_detections(
                from_centres(rows[hits, :4]) / self._size,
                scores,
                labels,
                labels=self.config.labels,
                geometry=geometry,
                nms_iou=self.nms_iou(options),
                limit=options.max_detections,
            )
        )
