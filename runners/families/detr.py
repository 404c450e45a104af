"""Family `detr`: DETR, Conditional DETR, Deformable DETR, RF-DETR: queries, each with a class and a box.

Outputs `logits` [Q, K] and `pred_boxes` [Q, 4], centre and sides in 0..1 of the input. K says which form:

- C + 1, the last column for "no object": a query has its best class of the softmax
  (`DetrImageProcessor.post_process_object_detection` of huggingface/transformers 4.57).
- C: of all pairs of query and class the best count, by the sigmoid
  (`DeformableDetrImageProcessor.post_process_object_detection`, the same version; RF-DETR, whose outputs have
  other names: rfdetr_object_detection_onnx.py of roboflow/inference, commit 3bb973b5).

Nothing is suppressed. An input `pixel_mask` says where the input is filled.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hotswap.predictions import Options
from manifest.version_manifest import Thresholds
from runners.families.base import Found, Outputs, Parameters, expect
from runners.geometry import Geometry
from runners.graph_check import GraphTensor
from runners.named_outputs import NamedOutputs
from runners.pixel_mask import PIXEL_MASK, PixelMask
from runners.query_head import boxes_of_pairs, boxes_of_queries, found_by
from runners.scores import sigmoid, softmax


class Detr(NamedOutputs[Parameters]):
    """Detectors with a set of queries, but RT-DETR, which is a family of its own."""

    name = "detr"
    task = "object-detection"
    takes = ("nms_threshold",)
    fed = (PIXEL_MASK,)
    usual = ("logits", "pred_boxes")
    usual_thresholds = Thresholds(score=0.5, nms_iou=1.0)

    def connect(self, inputs: Sequence[GraphTensor]) -> None:
        """See `Family.connect`: the sides of the mask."""
        self._mask = PixelMask(inputs)

    def feed(self, placed: Sequence[Geometry], options: Options) -> Outputs:  # noqa: ARG002
        """See `Family.feed`."""
        return {PIXEL_MASK: self._mask.of(placed)}

    def check(self, outputs: Outputs) -> None:
        """See `Family.check`."""
        logits, boxes = (outputs[name].shape for name in self.names)
        count = len(self.config.labels)
        fits = len(logits) == 2 and logits[1] in (count, count + 1)
        expect(fits, f"[Q, {count}] or [Q, {count + 1}] (one column per label, and one for none)", logits)
        expect(boxes == (logits[0], 4), f"[{logits[0]}, 4] for boxes", boxes)

    def find(self, outputs: Outputs, geometry: Geometry, options: Options) -> Found:
        """See `Family.find`."""
        logits, boxes = (outputs[name].astype(np.float64) for name in self.names)
        if logits.shape[1] > len(self.config.labels):  # the last column is no class
            candidates = boxes_of_queries(softmax(logits)[:, :-1], boxes)
        else:
            candidates = boxes_of_pairs(sigmoid(logits), boxes)
        return found_by(self, candidates, geometry, options)
