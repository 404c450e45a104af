"""Family `rtdetr`: RT-DETR, in the three forms that its exporters give it.

- The authors': `labels` [Q], `boxes` [Q, 4] as corners, `scores` [Q], and an input `orig_target_sizes`
  int64 [N, 2] of width and height, by which the boxes are multiplied (rtdetr_postprocessor.py of
  lyuwenyu/RT-DETR, commit 02d43575). Fed with 1 and 1, they are in 0..1.
- Hugging Face's: `logits` [Q, C], `pred_boxes` [Q, 4] as centre and sides in 0..1
  (`RTDetrImageProcessor.post_process_object_detection` of huggingface/transformers 4.57).
- Ultralytics': one output [Q, 4 + C], centre and sides in 0..1, then scores.

Nothing is suppressed: of all pairs of query and class the best 300 count.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from hotswap.errors import VersionFailed
from hotswap.predictions import Options
from manifest.version_manifest import CONFIG_FILE, Thresholds
from runners.families.base import Family, Found, Outputs, Parameters, expect
from runners.geometry import Geometry
from runners.interpolate import Floats
from runners.query_head import QueryBoxes, boxes_of_pairs, found_by
from runners.scores import as_scores, sigmoid

_AUTHORS = ("labels", "boxes", "scores")
_HUGGING_FACE = ("logits", "pred_boxes")

_Form = Literal["authors", "hugging face", "ultralytics"]


class RtDetr(Family[Parameters]):
    """RT-DETR detectors."""

    name = "rtdetr"
    task = "object-detection"
    takes = ("nms_threshold",)
    fed = ("orig_target_sizes",)
    usual_thresholds = Thresholds(score=0.5, nms_iou=1.0)

    _form: _Form = "ultralytics"

    def reads(self, available: Sequence[str]) -> tuple[str, ...]:
        """The outputs of the first form that the graph has; `output.names` may name them in that order."""
        named = self.config.output.names
        if named is not None:
            forms: dict[int, _Form] = {3: "authors", 2: "hugging face", 1: "ultralytics"}
            if len(named) not in forms:
                raise VersionFailed(
                    f"{CONFIG_FILE}: output.names: family {self.name!r} reads {', '.join(_AUTHORS)}, or "
                    f"{', '.join(_HUGGING_FACE)}, or one output; found {', '.join(named)}"
                )
            self._form = forms[len(named)]
            return tuple(named)
        if set(_AUTHORS) <= set(available):
            self._form = "authors"
            return _AUTHORS
        if set(_HUGGING_FACE) <= set(available):
            self._form = "hugging face"
            return _HUGGING_FACE
        return super().reads(available)

    def feed(self, placed: Sequence[Geometry], options: Options) -> Outputs:  # noqa: ARG002
        """See `Family.feed`."""
        return {"orig_target_sizes": np.ones((len(placed), 2), np.int64)}

    def check(self, outputs: Outputs) -> None:
        """See `Family.check`."""
        count = len(self.config.labels)
        first, *others = (array.shape for array in outputs.values())
        if self._form == "authors":
            expect(len(first) == 1, "[Q] for labels", first)
            expect(others == [(*first, 4), first], "[Q, 4] for boxes and [Q] for scores", others[0])
        elif self._form == "hugging face":
            fits = len(first) == 2 and first[1] == count
            expect(fits, f"[Q, {count}] (one column per label) for logits", first)
            expect(others == [(first[0], 4)], f"[{first[0]}, 4] for boxes", others[0])
        else:
            fits = len(first) == 2 and first[1] == 4 + count
            expect(fits, f"[Q, {4 + count}] (4 + one column per label)", first)

    def find(self, outputs: Outputs, geometry: Geometry, options: Options) -> Found:
        """See `Family.find`."""
        return found_by(self, self._candidates(*outputs.values()), geometry, options)

    def _candidates(self, first: Floats, *others: Floats) -> QueryBoxes:
        if self._form == "authors":
            boxes, scores = others
            return QueryBoxes(boxes, as_scores(scores, "scores"), first.astype(np.intp))
        if self._form == "hugging face":
            return boxes_of_pairs(sigmoid(first.astype(np.float64)), others[0])
        return boxes_of_pairs(as_scores(first[:, 4:], "class scores"), first[:, :4])
