"""Family `owlv2`: whatever some texts name, found by OWLv2 or OWL-ViT.

Inputs beside the picture: `input_ids` and `attention_mask` int64 [N * T, L], the T texts for each picture,
filled to L = 16. Outputs: `logits` [Q, T] and `pred_boxes` [Q, 4], centre and sides in 0..1 of the input,
which for OWLv2 is the padded square. The score of a query is the sigmoid of its greatest logit. Nothing is
suppressed (`Owlv2Processor.post_process_object_detection` of huggingface/transformers 4.57; Minderer et al.,
arXiv 2306.09683).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from pydantic import Field

from hotswap.predictions import Detection, Options
from manifest.version_manifest import Thresholds
from runners.boxes import best_boxes, from_centres
from runners.compared_texts import ComparedTexts, TextParameters
from runners.families.base import Found, Outputs, expect
from runners.geometry import Geometry
from runners.named_outputs import NamedOutputs
from runners.scores import sigmoid


class OwlV2Parameters(TextParameters):
    """The texts of labels."""

    max_length: int = Field(default=16, ge=3, le=1024, description="tokens of a text")


class OwlV2(ComparedTexts[OwlV2Parameters], NamedOutputs[OwlV2Parameters]):
    """Detectors of whatever some texts name."""

    name = "owlv2"
    task = "open-vocabulary-detection"
    schema = OwlV2Parameters
    takes = ("text_prompt", "nms_threshold")
    usual = ("logits", "pred_boxes")
    usual_thresholds = Thresholds(score=0.1, nms_iou=1.0)
    filled = True

    def feed(self, placed: Sequence[Geometry], options: Options) -> Outputs:
        """See `Family.feed`; each picture has the texts for itself."""
        inputs = self.tokenizer.inputs(self.texts(options))
        return {name: np.tile(rows, (len(placed), 1)) for name, rows in inputs.items()}

    def check(self, outputs: Outputs) -> None:
        """See `Family.check`."""
        logits, boxes = (outputs[name].shape for name in self.names)
        expect(len(logits) == 2 and logits[1] > 0, "[Q, T] (one column per text) for logits", logits)
        expect(boxes == (logits[0], 4), f"[{logits[0]}, 4] for boxes", boxes)

    def find(self, outputs: Outputs, geometry: Geometry, options: Options) -> Found:
        """See `Family.find`."""
        texts = self.phrases(options)
        logits, boxes = (outputs[name] for name in self.names)
        expect(logits.shape[1] == len(texts), f"[Q, {len(texts)}] (one column per text)", logits.shape)
        labels = logits.argmax(axis=1)
        scores = sigmoid(logits.max(axis=1).astype(np.float64))
        hits = np.flatnonzero(scores > self.threshold(options))
        kept, restored = best_boxes(
            from_centres(boxes[hits]),
            scores[hits],
            labels[hits],
            geometry=geometry,
            nms_iou=self.nms_iou(options),
            limit=options.max_detections,
        )
        best = zip(restored.tolist(), scores[hits][kept].tolist(), labels[hits][kept].tolist(), strict=True)
        return Found(
            tuple(
                Detection(texts[label], label, score, (x1, y1, x2, y2))
                for (x1, y1, x2, y2), score, label in best
            )
        )
