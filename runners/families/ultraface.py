"""Family `ultraface`: decoded boxes, and the scores of each.

The outputs are `scores` [K, 1 + C], background first, already activated, and `boxes` [K, 4]: x1, y1, x2,
y2 in 0..1 of the input. Source: Linzaer/Ultra-Light-Fast-Generic-Face-Detector-1MB, whose exports hold
one class, the face.
"""

from __future__ import annotations

import numpy as np

from hotswap.predictions import Options
from runners.boxes import as_detections
from runners.families.base import Found, Outputs, Parameters, expect
from runners.geometry import Geometry
from runners.named_outputs import NamedOutputs
from runners.scores import as_scores


class UltraFace(NamedOutputs[Parameters]):
    """Ultra-Light-Fast face detectors: boxes decoded in the graph."""

    name = "ultraface"
    task = "object-detection"
    takes = ("nms_threshold",)
    usual = ("scores", "boxes")

    def check(self, outputs: Outputs) -> None:
        """See `Family.check`."""
        scores, boxes = (outputs[name].shape for name in self.names)
        columns = 1 + len(self.config.labels)
        fits = len(scores) == 2 and scores[1] == columns
        expect(fits, f"[K, {columns}] (background, then one column per label) for scores", scores)
        expect(boxes == (scores[0], 4), f"[{scores[0]}, 4] for boxes", boxes)

    def find(self, outputs: Outputs, geometry: Geometry, options: Options) -> Found:
        """See `Family.find`."""
        scores, boxes = (outputs[name] for name in self.names)
        label_ids = scores[:, 1:].argmax(axis=1)
        best = as_scores(scores[np.arange(len(scores)), 1 + label_ids], "class scores")
        hits = np.flatnonzero(best >= self.threshold(options))
        return Found(
            as_detections(
                boxes[hits],
                best[hits],
                label_ids[hits],
                labels=self.config.labels,
                geometry=geometry,
                nms_iou=self.nms_iou(options),
                limit=options.max_detections,
            )
        )
