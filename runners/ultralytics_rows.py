"""The rows of Ultralytics' detectors without objectness, in their two forms, known by the shape.

- [4 + C + M, A], or turned [A, 4 + C + M]: one column per cell of strides 8, 16 and 32, with centre and sides
  in pixels of the input, C scores, and M further values (engine/exporter.py of ultralytics/ultralytics,
  commit 002363f1).
- [K, 6 + M]: end to end, or exported with NMS: corners in pixels of the input, score, class, and the further
  values (`post_process_nms_fused_model_output` of roboflow/inference, commit 3bb973b5). Rows beyond the last
  detection have the score 0.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hotswap.predictions import Options
from manifest.version_manifest import ModelConfig
from runners.boxes import from_centres
from runners.families.base import expect
from runners.grids import count_of
from runners.interpolate import Floats
from runners.scores import as_scores

_STRIDES = (8, 16, 32)
_OF_END_TO_END = 6


@dataclass(frozen=True, slots=True)
class Candidates:
    """Boxes [K, 4] as corners in 0..1 of the input, scores [K], labels [K], and the further values [K, M]."""

    boxes: Floats
    scores: Floats
    labels: NDArray[np.intp]
    rest: Floats


class UltralyticsRows:
    """Reads rows of one config, with `further` values after the scores."""

    def __init__(self, config: ModelConfig, further: int = 0) -> None:
        width, height = config.input.width, config.input.height
        self._labels, self._further = len(config.labels), further
        self._raw = (4 + self._labels + further, count_of(width, height, _STRIDES))
        self._size = np.array([width, height] * 2, np.float32)

    def check(self, shape: tuple[int, ...]) -> None:
        """Raise `ModelFailed` unless an output has one of the shapes."""
        values = f" + {self._further} values" if self._further else ""
        expect(
            shape in (self._raw, self._raw[::-1]) or self._is_end_to_end(shape),
            f"{list(self._raw)} (4 + one row per label{values}, one column per cell), or "
            f"[K, {_OF_END_TO_END + self._further}]",
            shape,
        )

    def candidates(self, array: Floats, least: float) -> Candidates:
        """Those whose best class reaches `least`."""
        if self._is_end_to_end(array.shape):
            return self._end_to_end(array, least)
        return self._best_of_cells(array.T if array.shape == self._raw else array, least)

    def nms_iou(self, shape: tuple[int, ...], options: Options, usual: float) -> float:
        """The overlap from which the weaker is dropped; end to end nothing is, unless the request says so."""
        if self._is_end_to_end(shape):
            return 1.0 if options.nms_threshold is None else options.nms_threshold
        return usual

    def _is_end_to_end(self, shape: tuple[int, ...]) -> bool:
        columns = _OF_END_TO_END + self._further
        return len(shape) == 2 and shape[1] == columns and shape not in (self._raw, self._raw[::-1])

    def _end_to_end(self, array: Floats, least: float) -> Candidates:
        scores, labels = as_scores(array[:, 4], "scores"), array[:, 5].astype(np.intp)
        known = (labels >= 0) & (labels < self._labels)
        # Rows that hold no detection are 0 in all columns.
        good = known & (scores >= least) & (scores > 0)
        rest = array[good, _OF_END_TO_END:]
        return Candidates(array[good, :4] / self._size, scores[good], labels[good], rest)

    def _best_of_cells(self, rows: Floats, least: float) -> Candidates:
        classes = as_scores(rows[:, 4 : 4 + self._labels], "class scores")
        labels = classes.argmax(axis=1)
        scores = classes[np.arange(len(classes)), labels]
        good = scores >= least
        boxes = from_centres(rows[good, :4]) / self._size
        return Candidates(boxes, scores[good], labels[good], rows[good, 4 + self._labels :])
