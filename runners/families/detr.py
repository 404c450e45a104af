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
from numpy.typing import NDArray

from hotswap.manifest import Thresholds
from hotswap.predictions import Options
from runners.boxes import as_detections, from_centres
from runners.families.base import Found, Outputs, Parameters, expect
from runners.geometry import Geometry
from runners.graph_check import GraphTensor
from runners.interpolate import Floats
from runners.named_outputs import NamedOutputs
from runners.pixel_mask import PIXEL_MASK, PixelMask
from runners.scores import best_pairs, sigmoid, softmax


class DetrParameters(Parameters):
    """The family has no parameters: the columns of the logits say which form it is."""


class Detr(NamedOutputs[DetrParameters]):
    """Detectors with a set of queries, but RT-DETR, which is a family of its own."""

    name = "detr"
    task = "object-detection"
    schema = DetrParameters
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
        with_none = logits.shape[1] > len(self.config.labels)
        corners, scores, labels = _best_classes(logits, boxes) if with_none else _best_pairs(logits, boxes)
        good = scores > self.threshold(options)
        return Found(
            as_detections(
                corners[good],
                scores[good],
                labels[good],
                labels=self.config.labels,
                geometry=geometry,
                nms_iou=self.nms_iou(options),
                limit=options.max_detections,
            )
        )


def _best_classes(logits: Floats, boxes: Floats) -> tuple[Floats, Floats, NDArray[np.intp]]:
    """Boxes as corners, scores and labels of all queries; the last column is no class."""
    scores = softmax(logits)[:, :-1]
    return from_centres(boxes), scores.max(axis=1), scores.argmax(axis=1)


def _best_pairs(logits: Floats, boxes: Floats) -> tuple[Floats, Floats, NDArray[np.intp]]:
    """The same of the best pairs of query and class."""
    scores = sigmoid(logits)
    query, label = best_pairs(scores)
    return from_centres(boxes[query]), scores[query, label], label
