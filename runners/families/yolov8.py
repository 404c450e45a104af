"""Family `yolov8`: detectors of Ultralytics without objectness: YOLOv8, YOLO11, YOLO26 and YOLOv10.

The output is one of the two forms of `UltralyticsRows`, known by its shape.
"""

from __future__ import annotations

from hotswap.predictions import Options
from manifest.version_manifest import ModelConfig, Thresholds
from runners.boxes import as_detections
from runners.families.base import Family, Found, Outputs, Parameters, only
from runners.geometry import Geometry
from runners.ultralytics_rows import UltralyticsRows


class YoloV8(Family[Parameters]):
    """Ultralytics' detectors from YOLOv8 on."""

    name = "yolov8"
    task = "object-detection"
    takes = ("nms_threshold",)
    usual_thresholds = Thresholds(score=0.25, nms_iou=0.45)

    def __init__(self, config: ModelConfig) -> None:
        """See `Family.__init__`."""
        super().__init__(config)
        self._rows = UltralyticsRows(config)

    def check(self, outputs: Outputs) -> None:
        """See `Family.check`."""
        self._rows.check(only(outputs).shape)

    def find(self, outputs: Outputs, geometry: Geometry, options: Options) -> Found:
        """See `Family.find`."""
        array = only(outputs)
        candidates = self._rows.candidates(array, self.threshold(options))
        return Found(
            as_detections(
                candidates.boxes,
                candidates.scores,
                candidates.labels,
                labels=self.config.labels,
                geometry=geometry,
                nms_iou=self._rows.nms_iou(array.shape, options, self.nms_iou(options)),
                limit=options.max_detections,
            )
        )
