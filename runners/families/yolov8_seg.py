"""Family `yolov8-seg`: objects with their pixels: YOLOv8-seg, YOLO11-seg and YOLO26-seg of Ultralytics.

Outputs: `output0`, the rows of family `yolov8` with M further values, and `output1` [M, h, w], the prototypes
of masks over the input. A box's mask is the sum of the prototypes weighted by its values, interpolated to the
picture, inside where above 0, and cut at the box (`process_mask_native` of ultralytics/utils/ops.py in
ultralytics/ultralytics, commit 002363f1; here each pixel of the picture is looked up in the prototypes,
without a cut at their whole pixels in between). Boxes without a pixel are left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from math import ceil

import numpy as np

from hotswap.predictions import Box, Detection, Mask, Options
from manifest.version_manifest import Thresholds
from runners.boxes import best_boxes
from runners.families.base import Found, Outputs, Parameters, expect
from runners.geometry import Geometry
from runners.interpolate import Floats, sampled
from runners.mask_runs import part_mask
from runners.named_outputs import NamedOutputs
from runners.ultralytics_rows import UltralyticsRows


class YoloV8Seg(NamedOutputs[Parameters]):
    """Ultralytics' instance segmentation from YOLOv8 on."""

    name = "yolov8-seg"
    task = "instance-segmentation"
    takes = ("nms_threshold",)
    usual = ("output0", "output1")
    usual_thresholds = Thresholds(score=0.25, nms_iou=0.45)

    def check(self, outputs: Outputs) -> None:
        """See `Family.check`."""
        rows, prototypes = (outputs[name].shape for name in self.names)
        expect(len(prototypes) == 3 and min(prototypes) > 0, "[M, h, w] for prototypes", prototypes)
        UltralyticsRows(self.config, prototypes[0]).check(rows)

    def find(self, outputs: Outputs, geometry: Geometry, options: Options) -> Found:
        """See `Family.find`."""
        array, prototypes = (outputs[name] for name in self.names)
        rows = UltralyticsRows(self.config, len(prototypes))
        candidates = rows.candidates(array, self.threshold(options))
        kept, restored = best_boxes(
            candidates.boxes,
            candidates.scores,
            candidates.labels,
            geometry=geometry,
            nms_iou=rows.nms_iou(array.shape, options, self.nms_iou(options)),
            limit=options.max_detections,
        )
        values = candidates.rest[kept].astype(np.float32)
        logits = np.tensordot(values, prototypes.astype(np.float32), 1)
        best = zip(restored, candidates.scores[kept].tolist(), candidates.labels[kept].tolist(), strict=True)
        return Found(tuple(self._detections(best, logits, geometry)))

    def _detections(
        self, best: Iterable[tuple[Floats, float, int]], logits: Floats, geometry: Geometry
    ) -> Iterator[Detection]:
        for (box, score, label), plane in zip(best, logits, strict=True):
            x1, y1, x2, y2 = box.tolist()
            mask = _mask(plane, (x1, y1, x2, y2), geometry)
            if mask.counts.size > 1:
                yield Detection(self.config.labels[label], label, score, (x1, y1, x2, y2), mask=mask)


def _mask(plane: Floats, box: Box, geometry: Geometry) -> Mask:
    """The pixels of the picture inside a box [4] in 0..1 of the picture, where the plane is above 0."""
    width, height = geometry.picture
    columns = np.arange(ceil(box[0] * width), ceil(box[2] * width))
    rows = np.arange(ceil(box[1] * height), ceil(box[3] * height))
    inside = sampled(plane, geometry.rows_at(rows), geometry.columns_at(columns)) > 0
    return part_mask(inside, (int(columns[0]), int(rows[0])) if inside.size else (0, 0), (width, height))
