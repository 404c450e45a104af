"""AP50: the average precision of detections against the ground truth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from hotswap.predictions import Box, Detection
from runners.boxes import overlaps

MATCH = 0.5


@dataclass(frozen=True, slots=True)
class Truth:
    """A ground-truth object; `bbox` is in the units of the detections."""

    label: str
    bbox: Box


@dataclass(frozen=True, slots=True)
class _Hit:
    score: float
    right: bool


def iou(first: Box, second: Box) -> float:
    """Intersection over union of two boxes, 0..1."""
    return float(overlaps(np.array([first], dtype=float), np.array([second], dtype=float))[0, 0])


def ap50(predicted: Sequence[Sequence[Detection]], truths: Sequence[Sequence[Truth]]) -> Mapping[str, float]:
    """Average precision at IoU 0.5 of each label in `truths`; both lists have one item per picture.

    Greedy: by descending score, a detection takes the free object that it overlaps most. All-point
    interpolation. Labels without a ground-truth object are left out, with their detections.
    """
    labels = sorted({truth.label for picture in truths for truth in picture})
    return {label: _average_precision(label, predicted, truths) for label in labels}


def mean_ap50(predicted: Sequence[Sequence[Detection]], truths: Sequence[Sequence[Truth]]) -> float:
    """The mean of `ap50` over its labels; 0 without labels."""
    values = ap50(predicted, truths).values()
    return sum(values) / len(values) if values else 0.0


def _average_precision(
    label: str, predicted: Sequence[Sequence[Detection]], truths: Sequence[Sequence[Truth]]
) -> float:
    hits: list[_Hit] = []
    total = 0
    for detections, objects in zip(predicted, truths, strict=True):
        boxes = [truth.bbox for truth in objects if truth.label == label]
        hits += _match([item for item in detections if item.label == label and item.bbox], boxes)
        total += len(boxes)
    hits.sort(key=lambda hit: -hit.score)
    return _area([hit.right for hit in hits], total)


def _match(detections: Sequence[Detection], objects: Sequence[Box]) -> list[_Hit]:
    """A hit for each detection of one picture: whether it takes an object that no better one took."""
    free = list(objects)
    hits = []
    for detection in sorted(detections, key=lambda detection: -detection.score):
        box = detection.bbox or (0.0, 0.0, 0.0, 0.0)
        best = max(free, key=lambda truth: iou(box, truth), default=None)
        right = best is not None and iou(box, best) >= MATCH
        if right and best is not None:
            free.remove(best)
        hits.append(_Hit(detection.score, right))
    return hits


def _area(right: Sequence[bool], total: int) -> float:
    """The area under the precision envelope; `right` by descending score, `total` objects."""
    if not right:
        return 0.0
    true = np.cumsum(right)
    precision = true / np.arange(1, len(right) + 1)
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    steps = np.diff(true / total, prepend=0.0)
    return float((envelope * steps).sum())
