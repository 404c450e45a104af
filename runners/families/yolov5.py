"""Family `yolov5`: one row per anchor of three grids, with an objectness.

The output is [A, 5 + C]: centre and sides in pixels of the input, objectness and C class scores, all
decoded and activated in the graph; A is three anchors for each cell of strides 8, 16 and 32. The score is
objectness * class (export.py and models/yolo.py of ultralytics/yolov5, commit 0041a670). Exports call the
output `output`, `output0` or by a number.
"""

from __future__ import annotations

import numpy as np

from hotswap.manifest import ModelConfig, Thresholds
from hotswap.predictions import Options
from runners.boxes import as_detections, from_centres
from runners.families.base import Family, Found, Outputs, Parameters, expect, only
from runners.geometry import Geometry
from runners.scores import as_scores

_STRIDES = (8, 16, 32)
_ANCHORS = 3
_BEFORE_CLASSES = 5


class YoloV5Parameters(Parameters):
    """The family has no parameters."""


class YoloV5(Family[YoloV5Parameters]):
    """YOLOv5 detectors."""

    name = "yolov5"
    task = "object-detection"
    schema = YoloV5Parameters
    takes = ("nms_threshold",)
    usual_thresholds = Thresholds(score=0.25, nms_iou=0.45)

    def __init__(self, config: ModelConfig) -> None:
        """See `Family.__init__`."""
        super().__init__(config)
        width, height = config.input.width, config.input.height
        self._anchors = _ANCHORS * sum(-(-width // stride) * -(-height // stride) for stride in _STRIDES)
        self._size = np.array([width, height] * 2, np.float32)

    def check(self, outputs: Outputs) -> None:
        """See `Family.check`."""
        shape = only(outputs).shape
        expected = (self._anchors, _BEFORE_CLASSES + len(self.config.labels))
        expect(shape == expected, f"{list(expected)} (one row per anchor, 5 + one column per label)", shape)

    def find(self, outputs: Outputs, geometry: Geometry, options: Options) -> Found:
        """See `Family.find`."""
        rows, least = only(outputs), self.threshold(options)
        objectness = as_scores(rows[:, 4], "objectness")
        # A class score is at most 1, so the product reaches the threshold only where the objectness does.
        likely = np.flatnonzero(objectness >= least)
        classes = as_scores(rows[likely, _BEFORE_CLASSES:], "class scores")
        labels = classes.argmax(axis=1)
        scores = objectness[likely] * classes[np.arange(len(likely)), labels]
        good = scores >= least
        return Found(
            as_detections(
                from_centres(rows[likely[good], :4]) / self._size,
                scores[good],
                labels[good],
                labels=self.config.labels,
                geometry=geometry,
                nms_iou=self.nms_iou(options),
                limit=options.max_detections,
            )
        )
