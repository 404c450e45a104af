"""Family `nanodet`: class scores, and the distances of the sides as distributions, for three strides.

For strides s of 8, 16 and 32 pixels the outputs are `cls_pred_stride_s` [n, C], already activated, and
`dis_pred_stride_s` [n, 4 * B]: for the left, top, right and bottom side B logits of being 0, 1 … B - 1
strides away from the cell's centre. Cells run row by row; the centre of cell (x, y) is (x s + (s - 1) / 2,
y s + (s - 1) / 2) in pixels of the input. Formulas: nanodet_head.py of RangiLyu/nanodet, first version.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hotswap.predictions import Options
from manifest.version_manifest import ModelConfig
from runners.boxes import as_detections
from runners.families.base import Found, Outputs, Parameters, expect
from runners.geometry import Geometry
from runners.grids import cells_of
from runners.interpolate import Floats
from runners.named_outputs import NamedOutputs
from runners.scores import as_scores

_STRIDES = (8, 16, 32)
_SIDES = 4


class NanoDet(NamedOutputs[Parameters]):
    """NanoDet-m detectors: anchor-free, three scales, sides as distributions."""

    name = "nanodet"
    task = "object-detection"
    takes = ("nms_threshold",)
    usual = tuple(f"{kind}_pred_stride_{stride}" for kind in ("cls", "dis") for stride in _STRIDES)

    def __init__(self, config: ModelConfig) -> None:
        """See `Family.__init__`."""
        super().__init__(config)
        width, height = config.input.width, config.input.height
        count = len(_STRIDES)
        self._size = np.array([width, height] * 2, np.float32)
        self._grids = [
            _Grid(stride, _centres(width, height, stride), scores, sides)
            for stride, scores, sides in zip(_STRIDES, self.names[:count], self.names[count:], strict=True)
        ]

    def check(self, outputs: Outputs) -> None:
        """See `Family.check`."""
        for grid in self._grids:
            cells, labels = len(grid.centres), len(self.config.labels)
            scores, sides = outputs[grid.scores].shape, outputs[grid.sides].shape
            expect(
                scores == (cells, labels),
                f"[{cells}, {labels}] (one score per label) for {grid.scores}",
                scores,
            )
            fits = len(sides) == 2 and sides[0] == cells and sides[1] > 0 and sides[1] % _SIDES == 0
            expect(fits, f"[{cells}, 4 * B] (the same number of bins for each side) for {grid.sides}", sides)

    def find(self, outputs: Outputs, geometry: Geometry, options: Options) -> Found:
        """See `Family.find`."""
        least = self.threshold(options)
        parts = [grid.read(outputs, least) for grid in self._grids]
        boxes, scores, label_ids = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
        return Found(
            as_detections(
                boxes / self._size,
                scores,
                label_ids,
                labels=self.config.labels,
                geometry=geometry,
                nms_iou=self.nms_iou(options),
                limit=options.max_detections,
            )
        )


@dataclass(frozen=True, slots=True)
class _Grid:
    """The cells of one stride: their centres [n, 2] in pixels of the input, and their two outputs."""

    stride: int
    centres: Floats
    scores: str
    sides: str

    def read(self, outputs: Outputs, least: float) -> tuple[Floats, Floats, NDArray[np.intp]]:
        """Boxes [K, 4] in pixels of the input, scores [K] and labels [K] of the cells that reach `least`."""
        classes, sides = outputs[self.scores], outputs[self.sides]
        label_ids = classes.argmax(axis=1)
        best = as_scores(classes[np.arange(len(classes)), label_ids], "class scores")
        hits = np.flatnonzero(best >= least)
        logits = sides[hits].reshape(len(hits), _SIDES, sides.shape[1] // _SIDES)
        away, centres = _expected(logits) * self.stride, self.centres[hits]
        boxes = np.concatenate([centres - away[:, :2], centres + away[:, 2:]], axis=1)
        return boxes, best[hits], label_ids[hits]


def _centres(width: int, height: int, stride: int) -> Floats:
    cells, _ = cells_of(width, height, [stride])
    centres: Floats = cells * stride + (stride - 1) / 2
    return centres


def _expected(logits: Floats) -> Floats:
    """The expectation [...] of the bins' numbers under the softmax of logits [..., B]."""
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    mean: Floats = powers @ np.arange(logits.shape[-1], dtype=np.float32) / powers.sum(axis=-1)
    return mean
