"""How good detections are against the truth: AP50."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from hotswap.predictions import Box, Detection
from runners.boxes import overlaps

MATCH = 0.5


@dataclass(frozen=True, slots=True)
class Truth:
    """An object that is really in the picture; `bbox` in the same units as the detections'."""

    label: str
    bbox: Box


@dataclass(frozen=True, slots=True)
class _Hit:
    score: float
    right: bool


def iou(first: Box, second: Box) -> float:
    """Intersection over union of two boxes, 0..1."""
    return float(overlaps(np.array([first], dtype=float), np.array([second], dtype=float))[0, 0])


def ap50(found: Sequence[Sequence[Detection]], truths: Sequence[Sequence[Truth]]) -> Mapping[str, float]:
    """Average precision at IoU 0.5 of each label that occurs in `truths`; one item a picture in both.

    Greedy: by falling score a detection takes the free object it overlaps most. All-point
    interpolation. Labels that occur in no picture are left out, as are detections of them.
    """
    labels = sorted({truth.label for picture in truths for truth in picture})
    return {label: _average_precision(label, found, truths) for label in labels}


def mean_ap50(found: Sequence[Sequence[Detection]], truths: Sequence[Sequence[Truth]]) -> float:
    """The mean of `ap50` over its labels; 0 without any."""
    each = ap50(found, truths)
    return sum(each.values()) / len(each) if each else 0.0


def _average_precision(
    label: str, found: Sequence[Sequence[Detection]], truths: Sequence[Sequence[Truth]]
) -> float:
    hits: list[_Hit] = []
    total = 0
    for detections, objects in zip(found, truths, strict=True):
        wanted = [truth.bbox for truth in objects if truth.label == label]
        hits += _match([one for one in detections if one.label == label and one.bbox], wanted)
        total += len(wanted)
    hits.sort(key=lambda hit: -hit.score)
    return _area([hit.right for hit in hits], total)


def _match(detections: Sequence[Detection], objects: Sequence[Box]) -> list[_Hit]:
    """Say of each detection in one picture whether it takes an object that no better one took."""
    free = list(objects)
    hits = []
    for one in sorted(detections, key=lambda detection: -detection.score):
        box = one.bbox or (0.0, 0.0, 0.0, 0.0)
        best = max(free, key=lambda truth: iou(box, truth), default=None)
        right = best is not None and iou(box, best) >= MATCH
        if right and best is not None:
            free.remove(best)
        hits.append(_Hit(one.score, right))
    return hits


def _area(right: Sequence[bool], total: int) -> float:
    """The area under the precision envelope; `right` by falling score, `total` objects."""
    if not right:
        return 0.0
    true = np.cumsum(right)
    precision = true / np.arange(1, len(right) + 1)
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    steps = np.diff(true / total, prepend=0.0)
    return float((envelope * steps).sum())
