"""How alike two answers are, counted in objects, and what that count is evidence for. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import ceil, sqrt

import numpy as np
from numpy.typing import NDArray

from evaluation.agreement import pairs_at_one_place
from hotswap.predictions import Detection, Prediction

#: Of a one-sided interval of 95 %.
_Z = 1.645
_MOST_NEEDED = 10_000


@dataclass(frozen=True, slots=True)
class Tally:
    """So many of `objects` are `alike`, in so many pictures."""

    alike: float = 0.0
    objects: int = 0
    pictures: int = 0

    def __add__(self, other: Tally) -> Tally:
        return Tally(self.alike + other.alike, self.objects + other.objects, self.pictures + other.pictures)

    @property
    def share(self) -> float:
        """What is alike, in 0..1; 1 where there is nothing."""
        return self.alike / self.objects if self.objects else 1.0

    @property
    def interval(self) -> tuple[float, float]:
        """The true share lies above the first with 95 % confidence, below the second with as much."""
        return _interval(self.share, self.objects)

    def pictures_needed(self, bound: float) -> int:
        """How many more pictures like these decide whether the share reaches `bound`; at most 10,000."""
        share = self.share
        needed = next((count for count in _counts() if _decides(share, count, bound)), _MOST_NEEDED)
        per_picture = max(self.objects / self.pictures, 0.1) if self.pictures and self.objects else 1.0
        return min(_MOST_NEEDED, max(1, ceil((needed - self.objects) / per_picture)))


def total(tallies: Iterable[Tally]) -> Tally:
    """All of them together."""
    return sum(tallies, Tally())


def _interval(share: float, count: int) -> tuple[float, float]:
    """The score interval of a share of `count` (Wilson, 1927, JASA 22, 209-212), each side of 95 %."""
    if not count:
        return 0.0, 1.0
    middle = (share + _Z**2 / (2 * count)) / (1 + _Z**2 / count)
    half = _Z / (1 + _Z**2 / count) * sqrt(share * (1 - share) / count + _Z**2 / (4 * count**2))
    return max(0.0, middle - half), min(1.0, middle + half)


def _decides(share: float, count: int, bound: float) -> bool:
    low, high = _interval(share, count)
    return low >= bound or high < bound


def _counts() -> Iterable[int]:
    """Numbers of objects, each a little larger than the one before it."""
    count = 1
    while count < _MOST_NEEDED:
        yield count
        count = max(count + 1, count * 21 // 20)


@dataclass(frozen=True, slots=True)
class Rules:
    """What is alike: boxes that overlap by `min_iou`. Objects count from the score `sure` on.

    The other answer may give them less, down to the threshold that it was asked with.
    """

    min_iou: float
    sure: float


def likeness(first: Prediction, second: Prediction, rules: Rules) -> Tally:
    """How much of what either answer is sure of is in the other one, too.

    Boxes are paired one to one, by label and overlap. Of labels for the whole picture the best counts, of
    vectors their cosine.
    """
    if first.embedding is not None and second.embedding is not None:
        return Tally(_cosine(first.embedding, second.embedding), 1, 1)
    if any(found.bbox is not None for found in (*first.detections, *second.detections)):
        return _boxes(first.detections, second.detections, rules)
    best = [max(each.detections, key=lambda found: found.score, default=None) for each in (first, second)]
    if best[0] is None and best[1] is None:
        return Tally(pictures=1)
    labels = [each and each.label for each in best]
    return Tally(float(labels[0] == labels[1]), 1, 1)


def _cosine(first: NDArray[np.float32], second: NDArray[np.float32]) -> float:
    if first.shape != second.shape:
        return 0.0
    lengths = float(np.linalg.norm(first) * np.linalg.norm(second))
    return max(0.0, float(np.dot(first.ravel(), second.ravel())) / lengths) if lengths else 0.0


def _boxes(first: Sequence[Detection], second: Sequence[Detection], rules: Rules) -> Tally:
    pairs = pairs_at_one_place(
        first,
        second,
        rules.min_iou,
        lambda one, other: (
            first[one].label == second[other].label
            and max(first[one].score, second[other].score) >= rules.sure
        ),
    )
    found = set(pairs.values())
    alone = sum(each.score >= rules.sure for place, each in enumerate(first) if place not in pairs)
    alone += sum(each.score >= rules.sure for place, each in enumerate(second) if place not in found)
    return Tally(len(pairs), len(pairs) + alone, 1)
