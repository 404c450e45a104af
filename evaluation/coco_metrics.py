"""Average precision of boxes as COCO measures it.

This is `COCOeval` of https://github.com/cocodataset/cocoapi, PythonAPI/pycocotools/cocoeval.py, for boxes
and 100 detections a picture, in numpy: greedy matching by falling score, crowd regions that are ignored,
101-point interpolation. Tests hold it against that package.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evaluation.coco_truth import TrueObject, TruePicture
from hotswap.predictions import Detection

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

#: Overlaps (IoU) from which a detection matches an object, and the recalls at which precision is read.
IOUS: Floats = np.linspace(0.5, 0.95, 10)
RECALLS: Floats = np.linspace(0.0, 1.0, 101)
#: Square pixels of the objects of a slice by size, both ends included.
AREAS: Mapping[str, tuple[float, float]] = {
    "all": (0.0, 1e10),
    "small": (0.0, 32.0**2),
    "medium": (32.0**2, 96.0**2),
    "large": (96.0**2, 1e10),
}
MOST_DETECTIONS = 100
_NOTHING: Bools = np.zeros((len(IOUS), MOST_DETECTIONS), dtype=bool)
_MEANS = ("ap", "ap50", "ap75", "ar")
#: What is as good as an overlap of 1.
_WHOLE = 1 - 1e-10


@dataclass(frozen=True, slots=True)
class LabelMatch:
    """Detections of one label in one picture, by falling score, at T overlaps.

    `scores` [D]; `sizes` [D] of the boxes in square pixels; `matched` [T, D] whether each takes an object,
    and `ignored` [T, D] whether that object does not count; `objects` how many there are to be found.
    """

    scores: Floats
    sizes: Floats
    matched: Bools
    ignored: Bools
    objects: int


@dataclass(frozen=True, slots=True)
class LabelFigures:
    """How well one label is found: shares of 0..1.

    `ap` is the mean of the average precision over `IOUS`, `ap50` and `ap75` are those at 0.5 and 0.75, `ar`
    is the mean over `IOUS` of the most recall. `precision` and `recall` are those at 0.5 of the detections
    that reach a threshold; None where none does. `objects` is how many there are, `found` how many of those
    detections count.
    """

    ap: float
    ap50: float
    ap75: float
    ar: float
    precision: float | None
    recall: float
    objects: int
    found: int


class PictureMatcher:
    """What was found in a picture and what is in it, label by label; whole-picture labels count not."""

    def __init__(
        self, detections: Sequence[Detection], truth: TruePicture, labels: frozenset[str] | None = None
    ) -> None:
        """Boxes of `detections` are in 0..1 of the upright picture; `labels` are those that count, or all."""
        boxed = [each for each in detections if each.bbox is not None]
        if labels is not None:
            boxed = [each for each in boxed if each.label in labels]
        boxed.sort(key=lambda each: -each.score)
        scale = np.array([truth.width, truth.height] * 2, dtype=float)
        boxes, scores = (
            _boxes([each.bbox for each in boxed]) * scale,
            np.array([each.score for each in boxed]),
        )
        places: dict[str, list[int]] = {}
        for place, each in enumerate(boxed):
            places.setdefault(each.label, []).append(place)
        objects: dict[str, list[TrueObject]] = {}
        for true in truth.objects:
            if labels is None or true.label in labels:
                objects.setdefault(true.label, []).append(true)
        sizes = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
        self._without: dict[str, LabelMatch] = {}
        self._labels: dict[str, _LabelBoxes] = {}
        self._matched: dict[tuple[str, bytes], LabelMatch] = {}
        for label in dict.fromkeys((*places, *objects)):
            own = places.get(label, [])[:MOST_DETECTIONS]
            if label in objects:
                self._labels[label] = _LabelBoxes.of(boxes[own], scores[own], sizes[own], objects[label])
            else:
                nothing = _NOTHING[:, : len(own)]
                self._without[label] = LabelMatch(scores[own], sizes[own], nothing, nothing, 0)

    def matches(self, area: str = "all") -> dict[str, LabelMatch]:
        """Match them; of objects of one of `AREAS`."""
        return self._without | {label: self._match(label, area) for label in self._labels}

    def _match(self, label: str, area: str) -> LabelMatch:
        """Areas that ignore the same objects have the same match."""
        boxes = self._labels[label]
        ignore = boxes.ignored(AREAS[area])
        key = label, ignore.tobytes()
        if key not in self._matched:
            self._matched[key] = boxes.match(ignore)
        return self._matched[key]


@dataclass(frozen=True, slots=True)
class _LabelBoxes:
    """One label in one picture: `scores` [D] and `sizes` [D] in square pixels by falling score, their
    `shares` [D, G] with objects of `areas` [G]; `crowd` [G].
    """

    scores: Floats
    sizes: Floats
    shares: Floats
    areas: Floats
    crowd: Bools

    @classmethod
    def of(cls, boxes: Floats, scores: Floats, sizes: Floats, objects: Sequence[TrueObject]) -> _LabelBoxes:
        areas = np.array([each.area for each in objects], dtype=float)
        crowd = np.array([each.crowd for each in objects], dtype=bool)
        shares = crowd_overlaps(boxes, _boxes([each.bbox for each in objects]), crowd)
        return cls(scores, sizes, shares, areas, crowd)

    def ignored(self, area: tuple[float, float]) -> Bools:
        return self.crowd | (self.areas < area[0]) | (self.areas > area[1])

    def match(self, ignore: Bools) -> LabelMatch:
        objects = len(ignore) - int(ignore.sum())
        if not len(self.scores) or self.shares.max() < IOUS[0]:
            nothing = _NOTHING[:, : len(self.scores)]
            return LabelMatch(self.scores, self.sizes, nothing, nothing, objects)
        # Objects that count come first, as there.
        turn = np.argsort(ignore, kind="stable")
        matched, ignored = greedy(self.shares[:, turn], self.crowd[turn], ignore[turn])
        return LabelMatch(self.scores, self.sizes, matched, ignored, objects)


def _boxes(rows: Sequence[Any]) -> Floats:
    return np.array(rows, dtype=float).reshape(-1, 4)


def crowd_overlaps(boxes: Floats, objects: Floats, crowd: Bools) -> Floats:
    """Intersection over union of boxes [D, 4] with objects [G, 4], as [D, G].

    With a crowd it is the intersection over the box, since a box of one of its members lies inside
    (`bbIou` of common/maskApi.c).
    """
    low = np.maximum(boxes[:, None, :2], objects[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], objects[None, :, 2:])
    shared = np.prod(np.maximum(high - low, 0), axis=2)
    own = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)[:, None]
    theirs = np.prod(objects[:, 2:] - objects[:, :2], axis=1)[None, :]
    union = np.where(crowd[None, :], own, own + theirs - shared)
    result: Floats = np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)
    return result


def greedy(shares: Floats, crowd: Bools, ignore: Bools) -> tuple[Bools, Bools]:
    """Which detections [D] take an object [G] at each of `IOUS`, and which of those are ignored: [T, D] each.

    `shares` [D, G] by falling score; what is ignored comes last. Each object is taken once, a crowd as often
    as it fits; an object that counts is preferred to one that is ignored, then the one of most overlap.
    """
    matched = np.zeros((len(IOUS), len(shares)), dtype=bool)
    ignored = np.zeros_like(matched)
    if not shares.size:
        return matched, ignored
    free = np.ones((len(IOUS), shares.shape[1]), dtype=bool)
    least = np.minimum(IOUS, _WHOLE)[:, None]
    # What counts is worth more than any overlap with what does not.
    worth = shares + np.where(ignore, 0.0, 2.0)
    for row in np.flatnonzero(shares.max(axis=1) >= least[0]):
        fits = (shares[row] >= least) & free
        # The last one of equals, as there.
        best = shares.shape[1] - 1 - np.where(fits, worth[row], -1.0)[:, ::-1].argmax(axis=1)
        steps = np.flatnonzero(fits.any(axis=1))
        taken = best[steps]
        matched[steps, row], ignored[steps, row] = True, ignore[taken]
        free[steps, taken] = crowd[taken]
    return matched, ignored


def label_figures(matches: Iterable[LabelMatch], threshold: float, area: str = "all") -> LabelFigures | None:
    """How well a label is found over its pictures; None where it has no object.

    Precision and recall are those of detections with a score of at least `threshold`. What was not matched
    and is of another size than `area` counts not.
    """
    parts = list(matches)
    objects = sum(each.objects for each in parts)
    if not objects:
        return None
    scores = np.concatenate([each.scores for each in parts])
    order = np.argsort(-scores, kind="mergesort")
    scores = scores[order]
    matched = np.concatenate([each.matched for each in parts], axis=1)[:, order]
    ignored = np.concatenate([each.ignored for each in parts], axis=1)[:, order]
    sizes, (least, greatest) = np.concatenate([each.sizes for each in parts])[order], AREAS[area]
    ignored |= ~matched & ((sizes < least) | (sizes > greatest))
    right = np.cumsum(matched & ~ignored, axis=1, dtype=float)
    wrong = np.cumsum(~matched & ~ignored, axis=1, dtype=float)
    each_ap = [_precision(right[step], wrong[step], objects) for step in range(len(IOUS))]
    most = right[:, -1] / objects if len(scores) else np.zeros(len(IOUS))
    strong = int(np.searchsorted(-scores, -threshold, side="right"))
    hits, misses = (float(row[0, strong - 1]) if strong else 0.0 for row in (right, wrong))
    precision = hits / (hits + misses) if hits + misses else None
    return LabelFigures(
        float(np.mean(each_ap)),
        each_ap[0],
        each_ap[5],
        float(np.mean(most)),
        precision,
        hits / objects,
        objects,
        int(hits + misses),
    )


def _precision(right: Floats, wrong: Floats, objects: int) -> float:
    """The mean over `RECALLS` of the best precision at that recall or more."""
    if not len(right):
        return 0.0
    recall = right / objects
    precision = right / (right + wrong + np.spacing(1))
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    places = np.searchsorted(recall, RECALLS, side="left")
    reached = places[places < len(envelope)]
    return float(envelope[reached].sum() / len(RECALLS))


def figures(
    pictures: Sequence[Mapping[str, LabelMatch]], labels: Iterable[str], threshold: float, area: str = "all"
) -> dict[str, LabelFigures]:
    """`label_figures` of each of `labels` that has objects in these pictures."""
    wanted = set(labels)
    by_label: dict[str, list[LabelMatch]] = {}
    for picture in pictures:
        for label, match in picture.items():
            if label in wanted:
                by_label.setdefault(label, []).append(match)
    counted = {label: label_figures(by_label[label], threshold, area) for label in sorted(by_label)}
    return {label: each for label, each in counted.items() if each is not None}


def mean_figures(labels: Mapping[str, LabelFigures]) -> dict[str, float | None]:
    """The means over labels, as COCO takes them; precision and recall are over all objects together."""
    if not labels:
        return {}
    rows = list(labels.values())
    hits = sum(row.recall * row.objects for row in rows)
    found, objects = sum(row.found for row in rows), sum(row.objects for row in rows)
    return {
        **{
            name: float(np.mean([getattr(row, name) for row in rows]))
            for name in ("ap", "ap50", "ap75", "ar")
        },
        "precision": hits / found if found else None,
        "recall": hits / objects,
    }
