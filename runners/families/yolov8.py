"""Family `yolov8`: detectors of Ultralytics without objectness: YOLOv8, YOLO11, YOLO26 and YOLOv10.

The output is one of two, told by its shape:

- [4 + C, A], or turned [A, 4 + C]: one column per cell of strides 8, 16 and 32, with centre and sides in
  pixels of the input and C scores (docs of ultralytics/ultralytics, commit 002363f1, engine/exporter.py).
- [K, 6]: end to end, or exported with NMS: corners in pixels of the input, score and class
  (`post_process_nms_fused_model_output` of roboflow/inference, commit 3bb973b5). Rows beyond the last
  detection have the score 0.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hotswap.manifest import ModelConfig, Thresholds
from hotswap.predictions import Options
from runners.boxes import as_detections, from_centres
from runners.families.base import Family, Found, Outputs, Parameters, expect, only
from runners.geometry import Geometry
from runners.grids import count_of
from runners.interpolate import Floats
from runners.scores import as_scores

_STRIDES = (8, 16, 32)


class YoloV8Parameters(Parameters):
    """The family has no parameters: the output's shape tells the form."""


class YoloV8(Family[YoloV8Parameters]):
    """Ultralytics' detectors from YOLOv8 on."""

    name = "yolov8"
    task = "object-detection"
    schema = YoloV8Parameters
    takes = ("nms_threshold",)
    usual_thresholds = Thresholds(score=0.25, nms_iou=0.45)

    def __init__(self, config: ModelConfig) -> None:
        """See `Family.__init__`."""
        super().__init__(config)
        width, height = config.input.width, config.input.height
        self._cells = count_of(width, height, _STRIDES)
        self._columns = 4 + len(config.labels)
        self._size = np.array([width, height] * 2, np.float32)

    def check(self, outputs: Outputs) -> None:
        """See `Family.check`."""
        shape = only(outputs).shape
        expected = (self._columns, self._cells)
        expect(
            shape in (expected, expected[::-1]) or self._is_end_to_end(shape),
            f"{list(expected)} (4 + one row per label, one column per cell), or [K, 6]",
            shape,
        )

    def find(self, outputs: Outputs, geometry: Geometry, options: Options) -> Found:
        """See `Family.find`."""
        array, least = only(outputs), self.threshold(options)
        if self._is_end_to_end(array.shape):
            boxes, scores, labels = self._end_to_end(array, least)
            nms_iou = 1.0 if options.nms_threshold is None else options.nms_threshold
        else:
            rows = array.T if array.shape == (self._columns, self._cells) else array
            boxes, scores, labels = best_of_cells(rows, least)
            nms_iou = self.nms_iou(options)
        return Found(
            as_detections(
                boxes / self._size,
                scores,
                labels,
                labels=self.config.labels,
                geometry=geometry,
                nms_iou=nms_iou,
                limit=options.max_detections,
            )
        )

    def _is_end_to_end(self, shape: tuple[int, ...]) -> bool:
        raw = (self._columns, self._cells)
        return len(shape) == 2 and shape[1] == 6 and shape not in (raw, raw[::-1])

    def _end_to_end(self, array: Floats, least: float) -> tuple[Floats, Floats, NDArray[np.intp]]:
        scores, labels = as_scores(array[:, 4], "scores"), array[:, 5].astype(np.intp)
        known = (labels >= 0) & (labels < len(self.config.labels))
        # Rows that hold no detection are 0 in all columns.
        good = known & (scores >= least) & (scores > 0)
        return array[good, :4], scores[good], labels[good]


def best_of_cells(rows: Floats, least: float) -> tuple[Floats, Floats, NDArray[np.intp]]:
    """Of rows [A, 4 + C] those whose best class reaches `least`: corners in pixels, scores and labels."""
    classes = as_scores(rows[:, 4:], "class scores")
    labels = classes.argmax(axis=1)
    scores = classes[np.arange(len(classes)), labels]
    good = scores >= least
    return from_centres(rows[good, :4]), scores[good], labels[good]
