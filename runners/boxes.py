"""Intersection over union and non-maximum suppression. Boxes are rows x1, y1, x2, y2."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hotswap.predictions import Detection
from runners.geometry import Geometry
from runners.interpolate import Floats

# The overlaps are a table of candidates by candidates: the limit keeps it at a few megabytes.
MOST_CANDIDATES = 1000


def overlaps(first: Floats, second: Floats) -> Floats:
    """Intersection over union of every box of [K, 4] with every box of [M, 4], as [K, M]."""
    shared = _shared(first, second, 0)
    shared *= _shared(first, second, 1)
    union = _areas(first)[:, None] + _areas(second)[None, :] - shared
    # Boxes without area have no overlap: the divisor is kept above 0.
    result: Floats = np.divide(shared, np.maximum(union, np.finfo(union.dtype).tiny), out=shared)
    return result


def _shared(first: Floats, second: Floats, axis: int) -> Floats:
    """The shared length of each pair along x (0) or y (1), as [K, M]."""
    low = np.maximum(first[:, axis, None], second[None, :, axis])
    length = np.minimum(first[:, axis + 2, None], second[None, :, axis + 2])
    length -= low
    result: Floats = np.maximum(length, 0, out=length)
    return result


def _areas(boxes: Floats) -> Floats:
    area: Floats = np.maximum(boxes[:, 2] - boxes[:, 0], 0) * np.maximum(boxes[:, 3] - boxes[:, 1], 0)
    return area


def nms(boxes: Floats, scores: Floats, labels: NDArray[Any], iou: float) -> NDArray[np.intp]:
    """Greedy non-maximum suppression per label: the indices of the kept boxes, by descending score.

    A box is dropped when it overlaps a better one of its label by more than `iou`. Only the best
    `MOST_CANDIDATES` boxes are considered. Equal scores keep their order.
    """
    order = np.argsort(-scores, kind="stable")[:MOST_CANDIDATES]
    boxes, labels = boxes[order], labels[order]
    rivals = (overlaps(boxes, boxes) > iou) & (labels[:, None] == labels[None, :])
    alive = np.ones(len(order), dtype=bool)
    for place in range(len(order)):
        if alive[place]:
            alive[place + 1 :] &= ~rivals[place, place + 1 :]
    return order[alive]


def best_boxes(
    boxes: Floats,
    scores: Floats,
    label_ids: NDArray[Any],
    *,
    geometry: Geometry,
    nms_iou: float,
    limit: int,
) -> tuple[NDArray[np.intp], Floats]:
    """The indices [K] of at most `limit` candidates, and their boxes [K, 4] in 0..1 of the picture.

    `boxes` are in 0..1 of the input. The best are those that survive `nms` and have an area in the picture,
    by descending score.
    """
    kept = nms(boxes, scores, label_ids, nms_iou)
    restored = geometry.restore(boxes[kept])
    solid = (restored[:, 2] > restored[:, 0]) & (restored[:, 3] > restored[:, 1])
    return kept[solid][:limit], restored[solid][:limit]


def from_centres(boxes: Floats) -> Floats:
    """Boxes [K, 4] given as centre and sides, as corners."""
    centres, halves = boxes[:, :2], boxes[:, 2:] / 2
    corners: Floats = np.concatenate([centres - halves, centres + halves], axis=1)
    return corners


def as_detections(
    boxes: Floats,
    scores: Floats,
    label_ids: NDArray[Any],
    *,
    labels: Sequence[str],
    geometry: Geometry,
    nms_iou: float,
    limit: int,
) -> tuple[Detection, ...]:
    """Turn candidates in 0..1 of the input into at most `limit` detections in 0..1 of the picture."""
    kept, restored = best_boxes(boxes, scores, label_ids, geometry=geometry, nms_iou=nms_iou, limit=limit)
    rows = zip(restored.tolist(), scores[kept].tolist(), label_ids[kept].tolist(), strict=True)
    return tuple(
        Detection(labels[label], label, score, (x1, y1, x2, y2)) for (x1, y1, x2, y2), score, label in rows
    )
