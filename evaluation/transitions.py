"""What changes from one version's answer to another's, picture by picture. Pure.

Two findings are at the same place from an overlap (IoU) of 0.5 on. A finding is right where it takes a true
object of its label, each object once, by falling score.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

from evaluation.agreement import pairs_at_one_place
from evaluation.coco_truth import TrueObject
from hotswap.predictions import Box, Detection

SAME_PLACE = 0.5
Side = Literal["a", "b"]
#: Which of two answers is right: `unknown` where no truth says so.
Right = Literal["a", "b", "both", "neither", "unknown"]


class TransitionKind(StrEnum):
    """What became of a finding from version A to version B, the worst first."""

    BROKEN = "broken"
    FALSE_ALARM = "new false alarm"
    LABEL = "label changed"
    GONE = "find gone"
    NEW = "new find"
    FIXED = "fixed"


#: How bad each kind is, 0..1; a changed label by which of the two is right.
_WEIGHTS = {
    TransitionKind.BROKEN: 1.0,
    TransitionKind.FALSE_ALARM: 0.9,
    TransitionKind.GONE: 0.7,
    TransitionKind.NEW: 0.5,
    TransitionKind.FIXED: 0.2,
}
_LABEL_WEIGHTS: dict[Right, float] = {"a": 1.0, "unknown": 0.8, "neither": 0.5, "both": 0.4, "b": 0.2}


@dataclass(frozen=True, slots=True)
class Transition:
    """One change. `severity` 0..1 sorts the worst first; `gain` is 1 for better, -1 for worse, 0 for neither.

    `a` and `b` are the findings of the versions, as far as there are; `truth` is the box of the object that
    it is about, in 0..1 of the picture.
    """

    kind: TransitionKind
    label: str
    severity: float
    gain: int = 0
    a: Detection | None = None
    b: Detection | None = None
    truth: Box | None = None
    right: Right = "unknown"


@dataclass(frozen=True, slots=True)
class ChangedPicture:
    """A picture with changes, the worst first; `row` is its place in the answers."""

    row: int
    transitions: tuple[Transition, ...]

    @property
    def severity(self) -> tuple[float, float]:
        """That of the worst change, then that of all."""
        return self.transitions[0].severity, sum(each.severity for each in self.transitions)

    @property
    def gain(self) -> int:
        """1 where more became right than wrong, -1 for the contrary, else 0."""
        total = sum(each.gain for each in self.transitions)
        return (total > 0) - (total < 0)


@dataclass(frozen=True, slots=True)
class Findings:
    """All findings of one version in a picture, by falling score, and the least score that it reports."""

    all: tuple[Detection, ...]
    threshold: float

    @property
    def reported(self) -> tuple[Detection, ...]:
        """Those that it reports."""
        return tuple(each for each in self.all if each.score >= self.threshold)


@dataclass(frozen=True, slots=True)
class PictureTruth:
    """True objects in a picture, boxes in 0..1; of other labels than `labels` nothing is known."""

    objects: tuple[TrueObject, ...]
    labels: frozenset[str]


def picture_transitions(a: Findings, b: Findings, truth: PictureTruth | None) -> list[Transition]:
    """The changes of a picture from version A to version B, the worst first."""
    found = list(_Comparison(a, b, truth).transitions())
    return sorted(found, key=lambda each: -each.severity)


@dataclass(slots=True)
class _Boxed:
    """The reported boxes of one version, with the true object that each takes, and what is explained yet."""

    items: list[Detection]
    hits: dict[int, int]  # finding → object
    in_crowd: set[int]
    partner: dict[int, int] = field(default_factory=dict)
    explained: set[int] = field(default_factory=set)

    def taker(self, true: int) -> int | None:
        """The finding that takes an object."""
        return next((found for found, taken in self.hits.items() if taken == true), None)


class _Comparison:
    """Matches the findings of two versions with the truth and with each other."""

    def __init__(self, a: Findings, b: Findings, truth: PictureTruth | None) -> None:
        self._findings = {"a": a, "b": b}
        self._truth = truth
        self._objects = truth.objects if truth else ()
        self._a, self._b = _boxed(a, self._objects), _boxed(b, self._objects)
        self._explained: set[int] = set()  # objects

    def transitions(self) -> Iterator[Transition]:
        """Every change once: changed labels first, then objects of the truth, then what is left."""
        self._pair(lambda one, other: one.label == other.label)
        same = dict(self._a.partner)
        self._pair(lambda one, other: one.label != other.label)
        yield from self._labels({a: b for a, b in self._a.partner.items() if a not in same})
        for number, true in enumerate(self._objects):
            if not true.crowd and number not in self._explained:
                yield from self._object(number, true)
        yield from self._others("b", self._b)
        yield from self._others("a", self._a)

    def _pair(self, fits: Callable[[Detection, Detection], bool]) -> None:
        """Make partners of free findings at the same place, the greatest overlaps first."""
        a, b = self._a, self._b
        pairs = pairs_at_one_place(
            a.items,
            b.items,
            SAME_PLACE,
            lambda one, other: (
                one not in a.partner and other not in b.partner and fits(a.items[one], b.items[other])
            ),
        )
        a.partner |= pairs
        b.partner |= {other: one for one, other in pairs.items()}

    def _labels(self, pairs: dict[int, int]) -> Iterator[Transition]:
        for one, other in pairs.items():
            a, b = self._a.items[one], self._b.items[other]
            taken = {"a": self._a.hits.get(one), "b": self._b.hits.get(other)}
            right = self._right(taken["a"], taken["b"], a, b)
            self._a.explained.add(one)
            self._b.explained.add(other)
            self._explained |= {each for each in taken.values() if each is not None}
            severity = _LABEL_WEIGHTS[right] * _sure(max(a.score, b.score))
            truth = next((self._objects[each].bbox for each in taken.values() if each is not None), None)
            gain = {"a": -1, "b": 1}.get(right, 0)
            yield Transition(
                TransitionKind.LABEL, f"{a.label} → {b.label}", severity, gain, a, b, truth, right
            )

    def _right(self, a_takes: int | None, b_takes: int | None, a: Detection, b: Detection) -> Right:
        if a_takes is not None or b_takes is not None:
            if a_takes is not None and b_takes is not None:
                return "both"
            return "a" if a_takes is not None else "b"
        return "neither" if self._known(a.label) and self._known(b.label) else "unknown"

    def _object(self, number: int, true: TrueObject) -> Iterator[Transition]:
        """An object that one of the versions finds and the other does not."""
        one, other = self._a.taker(number), self._b.taker(number)
        if (one is None) == (other is None):
            return
        a = self._a.items[one] if one is not None else self._weak("a", true.label, true.bbox)
        b = self._b.items[other] if other is not None else self._weak("b", true.label, true.bbox)
        kind = TransitionKind.BROKEN if other is None else TransitionKind.FIXED
        severity = _WEIGHTS[kind] * _sure(abs(_score(a) - _score(b)))
        if other is None:
            yield Transition(kind, true.label, severity, -1, a, b, true.bbox, "a")
        else:
            yield Transition(kind, true.label, severity, 1, a, b, true.bbox, "b")

    def _others(self, side: Side, own: _Boxed) -> Iterator[Transition]:
        """Findings of one version that take no object, and that the other version does not have."""
        for index, found in enumerate(own.items):
            done = index in own.hits or index in own.in_crowd or index in own.explained
            if done or index in own.partner:
                continue
            yield self._alone(side, found)

    def _alone(self, side: Side, found: Detection) -> Transition:
        is_known = self._known(found.label)
        if side == "b":
            kind = TransitionKind.FALSE_ALARM if is_known else TransitionKind.NEW
        else:
            kind = TransitionKind.FIXED if is_known else TransitionKind.GONE
        other = self._weak("a" if side == "b" else "b", found.label, found.bbox)
        severity = _WEIGHTS[kind] * _sure(found.score - _score(other))
        a, b = (found, other) if side == "a" else (other, found)
        gain = (-1 if side == "b" else 1) if is_known else 0
        right: Right = "unknown" if not is_known else "a" if side == "b" else "b"
        return Transition(kind, found.label, severity, gain, a, b, right=right)

    def _known(self, label: str) -> bool:
        return self._truth is not None and label in self._truth.labels

    def _weak(self, side: Side, label: str, box: Box | None) -> Detection | None:
        """The best finding of a label at a place, though the version does not report it."""
        near = [each for each in self._findings[side].all if each.label == label and each.bbox is not None]
        fitting = [each for each in near if box is not None and box_overlap(each.bbox, box) >= SAME_PLACE]
        return max(fitting, key=lambda each: each.score, default=None)


def _boxed(findings: Findings, objects: Sequence[TrueObject]) -> _Boxed:
    items = sorted((each for each in findings.reported if each.bbox), key=lambda each: -each.score)
    hits: dict[int, int] = {}
    in_crowd: set[int] = set()
    free = {number for number, each in enumerate(objects) if not each.crowd}
    for index, found in enumerate(items):
        near = {
            number: box_overlap(found.bbox, objects[number].bbox)
            for number in free
            if objects[number].label == found.label
        }
        best = max(near, key=lambda number: (near[number], -number), default=None)
        if best is not None and near[best] >= SAME_PLACE:
            hits[index] = best
            free.remove(best)
        elif any(_is_inside(found, each) for each in objects if each.crowd):
            in_crowd.add(index)
    return _Boxed(items, hits, in_crowd)


def _is_inside(found: Detection, crowd: TrueObject) -> bool:
    """Whether most of a box lies in a crowd of its label."""
    if found.label != crowd.label or found.bbox is None:
        return False
    return _common(found.bbox, crowd.bbox) >= SAME_PLACE * _size(found.bbox)


def box_overlap(first: Box | None, second: Box | None) -> float:
    """Intersection over union of two boxes, 0..1; a box is not at the place of the whole picture (None)."""
    if first is None or second is None:
        return float(first is second)
    common = _common(first, second)
    return common / (_size(first) + _size(second) - common) if common else 0.0


def _common(first: Box, second: Box) -> float:
    width = min(first[2], second[2]) - max(first[0], second[0])
    height = min(first[3], second[3]) - max(first[1], second[1])
    return width * height if width > 0 and height > 0 else 0.0


def _size(box: Box) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])


def _score(found: Detection | None) -> float:
    return 0.0 if found is None else found.score


def _sure(difference: float) -> float:
    """A change by little, around the threshold, is less severe than one from sure to nothing."""
    return 0.2 + 0.8 * min(1.0, max(0.0, difference))


# --- labels of the whole picture -------------------------------------------------------------------


def top_transitions(a: Findings, b: Findings, truth: PictureTruth | None) -> list[Transition]:
    """The change of the best label of a whole picture; right is a label that some object of it has."""
    first, second = (max(each.all, key=_score, default=None) for each in (a, b))
    if first is None or second is None or first.label == second.label:
        return []
    labels = {each.label for each in truth.objects} if truth else set()
    right = _right_top(first, second, labels)
    kinds = {"a": TransitionKind.BROKEN, "b": TransitionKind.FIXED}
    kind = kinds.get(right, TransitionKind.LABEL)
    weight = _WEIGHTS.get(kind, _LABEL_WEIGHTS[right])
    severity = weight * _sure(max(first.score, second.score))
    gain = {"a": -1, "b": 1}.get(right, 0)
    return [
        Transition(kind, f"{first.label} → {second.label}", severity, gain, first, second, right=right),
    ]


def _right_top(a: Detection, b: Detection, labels: set[str]) -> Right:
    if not labels:
        return "unknown"
    if a.label in labels:
        return "both" if b.label in labels else "a"
    return "b" if b.label in labels else "neither"
