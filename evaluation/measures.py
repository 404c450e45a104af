"""What two versions are compared by: measures where the truth is known, agreement elsewhere. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from evaluation.answers import PairedAnswer, SideAnswer
from evaluation.coco_truth import CocoTruth, TrueObject, TruePicture
from evaluation.transitions import (
    SAME_PLACE,
    Findings,
    PictureTruth,
    Transition,
    TransitionKind,
    top_transitions,
)
from hotswap.predictions import Detection, Mask

Figure = float | None
#: Neighbours of an embedding that are compared.
_NEIGHBOURS = 5
#: Rows of a table of similarities that are in memory at once.
_CHUNK = 1000


@dataclass(frozen=True, slots=True)
class SideFigures:
    """Measures of one version by name, and the same of each label."""

    measures: Mapping[str, Figure] = field(default_factory=dict)
    classes: Mapping[str, Mapping[str, Figure]] = field(default_factory=dict)


BothFigures = tuple[SideFigures, SideFigures]


class TaskMeasures(Protocol):
    """The measures of a task over answers; `rows` are places in the list of answers."""

    #: The measure that stands first.
    main: str

    def figures(self, rows: Sequence[int]) -> BothFigures:
        """Measures against the truth of both versions; empty where none of these pictures has any."""
        ...

    def agreement(self, rows: Sequence[int]) -> Mapping[str, Figure]:
        """How far both say the same, 1 for all; `agreement` stands first."""
        ...

    def transitions(self, row: int) -> list[Transition]:
        """What changes in a picture, the worst first."""
        ...

    def has_truth(self, row: int) -> bool:
        """Whether the truth of a picture is known."""
        ...


def mean(values: Sequence[float]) -> Figure:
    """The mean; None of nothing."""
    return float(np.mean(values)) if values else None


def truth_in_shares(truth: TruePicture | None, labels: frozenset[str]) -> PictureTruth | None:
    """The objects of `labels` with boxes in 0..1 of the picture."""
    if truth is None:
        return None
    scale = (truth.width, truth.height, truth.width, truth.height)
    return PictureTruth(
        tuple(
            TrueObject(each.label, _scaled(each.bbox, scale), each.area, each.crowd)
            for each in truth.objects
            if each.label in labels
        ),
        labels,
    )


def _scaled(
    box: tuple[float, float, float, float], scale: tuple[int, int, int, int]
) -> tuple[float, float, float, float]:
    return box[0] / scale[0], box[1] / scale[1], box[2] / scale[2], box[3] / scale[3]


def mask_overlap(first: Mask, second: Mask) -> float:
    """Intersection over union of two masks of one picture, 0..1; two empty masks are the same."""
    if (first.width, first.height) != (second.width, second.height):
        return 0.0
    one, other = first.pixels(), second.pixels()
    union = int((one | other).sum())
    return int((one & other).sum()) / union if union else 1.0


# --- labels of whole pictures ----------------------------------------------------------------------


class LabelMeasures:
    """Classification: accuracy where the truth is known, the same best label elsewhere.

    A best label is right where some object of the picture has it.
    """

    main = "accuracy"

    def __init__(
        self, answers: Sequence[PairedAnswer], truth: CocoTruth | None, labels: frozenset[str]
    ) -> None:
        self._answers = answers
        self._labels = labels
        self._truths = [truth.of_picture(each.name) if truth else None for each in answers]

    def figures(self, rows: Sequence[int]) -> BothFigures:
        """See `TaskMeasures.figures`."""
        known = [(row, labels) for row in rows if (labels := self._right(row))]
        if not known:
            return SideFigures(), SideFigures()
        a = self._accuracy([(self._answers[row].a, labels) for row, labels in known])
        b = self._accuracy([(self._answers[row].b, labels) for row, labels in known])
        return a, b

    def agreement(self, rows: Sequence[int]) -> Mapping[str, Figure]:
        """See `TaskMeasures.agreement`: the share of pictures with the same best label."""
        best = [(_top(self._answers[row].a), _top(self._answers[row].b)) for row in rows]
        return {"agreement": mean([float(a == b) for a, b in best])}

    def transitions(self, row: int) -> list[Transition]:
        """See `TaskMeasures.transitions`."""
        answer = self._answers[row]
        truth = truth_in_shares(self._truths[row], self._labels)
        return top_transitions(Findings(answer.a.detections, 0), Findings(answer.b.detections, 0), truth)

    def _right(self, row: int) -> frozenset[str]:
        truth = self._truths[row]
        return frozenset(each.label for each in truth.objects) & self._labels if truth else frozenset()

    def has_truth(self, row: int) -> bool:
        """Whether the truth of a picture is known."""
        return bool(self._right(row))

    def _accuracy(self, known: Sequence[tuple[SideAnswer, frozenset[str]]]) -> SideFigures:
        by_label: dict[str, list[float]] = {}
        for answer, labels in known:
            for label in labels:
                by_label.setdefault(label, []).append(float(_top(answer) == label))
        every = [float(_top(answer) in labels) for answer, labels in known]
        classes = {
            label: {"recall": mean(hits), "objects": float(len(hits))}
            for label, hits in sorted(by_label.items())
        }
        return SideFigures({"accuracy": mean(every)}, classes)


def _top(answer: SideAnswer) -> str | None:
    best = max(answer.detections, key=lambda each: each.score, default=None)
    return None if best is None else best.label


# --- embeddings ------------------------------------------------------------------------------------


class VectorMeasures:
    """Embeddings: whether both versions call the same pictures near (cosine)."""

    main = "agreement"

    def __init__(self, answers: Sequence[PairedAnswer]) -> None:
        self._answers = answers
        self._near = [neighbours([each.a for each in answers]), neighbours([each.b for each in answers])]

    def figures(self, rows: Sequence[int]) -> BothFigures:  # noqa: ARG002 - the protocol's signature
        """See `TaskMeasures.figures`: no truth says which pictures are near."""
        return SideFigures(), SideFigures()

    def agreement(self, rows: Sequence[int]) -> Mapping[str, Figure]:
        """See `TaskMeasures.agreement`: the share of pictures with the same nearest one, and of the five
        nearest those that both have.
        """
        pairs = [(a[0] == b[0], self._shared(row)) for row in rows for a, b in self._both(row)]
        return {
            "agreement": mean([float(same) for same, _ in pairs]),
            "five_nearest": mean([share for _, share in pairs]),
        }

    def transitions(self, row: int) -> list[Transition]:
        """See `TaskMeasures.transitions`: the nearest picture is another one."""
        return [
            Transition(
                TransitionKind.LABEL,
                f"nearest: {self._answers[a[0]].name} → {self._answers[b[0]].name}",
                round(0.8 * (1 - self._shared(row)), 6),
            )
            for a, b in self._both(row)
            if a[0] != b[0]
        ]

    def has_truth(self, row: int) -> bool:  # noqa: ARG002 - as that of others
        """No truth is known."""
        return False

    def _both(self, row: int) -> list[tuple[list[int], list[int]]]:
        a, b = (near.get(row, []) for near in self._near)
        return [(a, b)] if a and b else []

    def _shared(self, row: int) -> float:
        a, b = (set(near.get(row, [])) for near in self._near)
        return len(a & b) / max(len(a), 1)


def neighbours(answers: Sequence[SideAnswer]) -> dict[int, list[int]]:
    """The places of the nearest other answers of each, the nearest first; some have no vector."""
    rows = [row for row, each in enumerate(answers) if each.embedding is not None]
    if len(rows) < 2:
        return {}
    vectors = np.stack([np.asarray(answers[row].embedding, dtype=np.float32) for row in rows])
    vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    found: dict[int, list[int]] = {}
    for start in range(0, len(rows), _CHUNK):
        similar: NDArray[np.float32] = vectors[start : start + _CHUNK] @ vectors.T
        similar[np.arange(len(similar)), np.arange(start, start + len(similar))] = -np.inf
        near = np.argsort(-similar, axis=1, kind="stable")[:, : min(_NEIGHBOURS, len(rows) - 1)]
        for offset, places in enumerate(near.tolist()):
            found[rows[start + offset]] = [rows[place] for place in places]
    return found


# --- maps of classes -------------------------------------------------------------------------------


class MapMeasures:
    """Semantic segmentation: the overlap (IoU) of the pixels of each label."""

    main = "agreement"

    def __init__(self, answers: Sequence[PairedAnswer]) -> None:
        self._answers = answers
        self._shares = [_label_overlaps(each) for each in answers]

    def figures(self, rows: Sequence[int]) -> BothFigures:  # noqa: ARG002 - the protocol's signature
        """See `TaskMeasures.figures`: boxes say nothing about maps."""
        return SideFigures(), SideFigures()

    def agreement(self, rows: Sequence[int]) -> Mapping[str, Figure]:
        """See `TaskMeasures.agreement`: the mean IoU of the labels, each over its pictures."""
        by_label: dict[str, list[float]] = {}
        for row in rows:
            for label, share in self._shares[row].items():
                by_label.setdefault(label, []).append(share)
        means = [float(np.mean(shares)) for shares in by_label.values()]
        return {"agreement": mean(means)}

    def transitions(self, row: int) -> list[Transition]:
        """See `TaskMeasures.transitions`: labels whose pixels are for the most part others."""
        a, b = (
            {each.label: each for each in side.detections}
            for side in (self._answers[row].a, self._answers[row].b)
        )
        found = [
            _map_transition(label, share, a.get(label), b.get(label))
            for label, share in self._shares[row].items()
            if share < SAME_PLACE
        ]
        return sorted(found, key=lambda each: -each.severity)

    def has_truth(self, row: int) -> bool:  # noqa: ARG002 - as that of others
        """No truth is known."""
        return False


def _map_transition(label: str, share: float, a: Detection | None, b: Detection | None) -> Transition:
    kind = TransitionKind.NEW if a is None else TransitionKind.GONE if b is None else TransitionKind.LABEL
    larger = a or b
    part = 0.0
    if larger is not None and larger.mask is not None:
        part = larger.mask.area / max(1, larger.mask.width * larger.mask.height)
    name = label if kind is not TransitionKind.LABEL else f"{label}: IoU {share:.2f}"
    return Transition(kind, name, round((1 - share) * (0.2 + 0.8 * part**0.5), 6), a=a, b=b)


def _label_overlaps(answer: PairedAnswer) -> dict[str, float]:
    """The overlap of each label that one of them sees."""
    a, b = ({each.label: each.mask for each in side.detections if each.mask} for side in (answer.a, answer.b))
    shares = {}
    for label in sorted({*a, *b}):
        first, second = a.get(label), b.get(label)
        shares[label] = mask_overlap(first, second) if first and second else 0.0
    return shares
