"""The comparison of two versions: verdict, figures, slices and changed pictures, as one document. Pure."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np

from evaluation.answers import PairedAnswer, SideAnswer
from evaluation.box_measures import BoxMeasures
from evaluation.coco_truth import CocoTruth
from evaluation.comparison_verdict import ChangeTally, MeasureChange, verdict
from evaluation.measures import (
    BothFigures,
    Figure,
    LabelMeasures,
    MapMeasures,
    SideFigures,
    TaskMeasures,
    VectorMeasures,
)
from evaluation.transitions import ChangedPicture, Transition
from hotswap.predictions import Detection

FORMAT = 1
_BINS = 20
#: Pictures with changes that the document lists, and the values of one slice.
_MOST_LISTED, _MOST_VALUES = 2_000, 24
_BOXES = (
    "object-detection",
    "open-vocabulary-detection",
    "instance-segmentation",
    "prompted-segmentation",
)
_LABELS = ("image-classification", "zero-shot-classification")
TASKS = (*_BOXES, *_LABELS, "image-embedding", "semantic-segmentation")


@dataclass(frozen=True, slots=True)
class ComparedVersion:
    """A version that is compared: `labels` empty where it takes any; memory in bytes, where it is known."""

    model: str
    version: str
    digest: str
    threshold: float
    labels: frozenset[str] = frozenset()
    memory_bytes: int | None = None

    @property
    def name(self) -> str:
        """Its tag."""
        return f"{self.model}:{self.version}"


@dataclass(frozen=True, slots=True)
class VersionComparison:
    """Both versions, all answers, the pictures with changes (the worst first), and the document."""

    versions: tuple[ComparedVersion, ComparedVersion]
    answers: tuple[PairedAnswer, ...]
    changed: tuple[ChangedPicture, ...]
    document: Mapping[str, Any]


def compare_answers(
    task: str,
    versions: tuple[ComparedVersion, ComparedVersion],
    answers: Sequence[PairedAnswer],
    truth: CocoTruth | None = None,
    *,
    created: datetime,
    unreadable: int = 0,
) -> VersionComparison:
    """Compare two versions by their answers to the same pictures; `unreadable` ones could not be asked."""
    labels = _counted_labels(versions, answers, truth)
    measures = _measures(task, versions, answers, truth, labels)
    rows = [row for row, each in enumerate(answers) if each.a.error is None and each.b.error is None]
    changed = _changed(measures, rows)
    figures, agreement = measures.figures(rows), measures.agreement(rows)
    known = [row for row in range(len(answers)) if measures.has_truth(row)]
    tally = ChangeTally.of(changed, answers, known)
    names = versions[0].name, versions[1].name
    change = _main_change(measures.main, figures)
    result, sentence = verdict(*names, tally, change, agreement.get("agreement"))
    document = {
        "format": FORMAT,
        "created": created.isoformat(timespec="seconds"),
        "task": task,
        "verdict": {"result": result, "sentence": sentence},
        "pictures": {
            "compared": len(rows),
            "with_truth": len(known),
            "unreadable": unreadable,
            "changed": tally.changed,
            "better": tally.better,
            "worse": tally.worse,
        },
        "a": _side(versions[0], [each.a for each in answers], figures[0]),
        "b": _side(versions[1], [each.b for each in answers], figures[1]),
        "agreement": _rounded(agreement),
        "labels_without_truth": _unknown_labels(versions, answers, truth, labels),
        "slices": _slices(measures, answers, rows),
        "scores": _histograms([answers[row] for row in rows]),
        "transitions": _listed(changed, answers),
        "promote": promote_command(versions, sentence),
    }
    return VersionComparison(versions, tuple(answers), tuple(changed), document)


def _measures(
    task: str,
    versions: tuple[ComparedVersion, ComparedVersion],
    answers: Sequence[PairedAnswer],
    truth: CocoTruth | None,
    labels: frozenset[str],
) -> TaskMeasures:
    if task in _BOXES:
        return BoxMeasures(answers, (versions[0].threshold, versions[1].threshold), truth, labels)
    if task in _LABELS:
        return LabelMeasures(answers, truth, labels)
    return VectorMeasures(answers) if task == "image-embedding" else MapMeasures(answers)


def _counted_labels(
    versions: Sequence[ComparedVersion], answers: Sequence[PairedAnswer], truth: CocoTruth | None
) -> frozenset[str]:
    """The labels of the truth that one of the versions knows."""
    if truth is None:
        return frozenset()
    known: set[str] = set()
    for version, side in zip(versions, ("a", "b"), strict=True):
        known |= version.labels or _seen_labels(getattr(each, side) for each in answers)
    return truth.labels & known


def _seen_labels(answers: Iterable[SideAnswer]) -> frozenset[str]:
    return frozenset(found.label for answer in answers for found in answer.detections)


def _unknown_labels(
    versions: Sequence[ComparedVersion],
    answers: Sequence[PairedAnswer],
    truth: CocoTruth | None,
    labels: frozenset[str],
) -> list[str]:
    """Labels that a version reports and of which the truth says nothing."""
    if truth is None:
        return []
    sides = ([each.a for each in answers], [each.b for each in answers])
    reported = {
        found.label
        for version, side in zip(versions, sides, strict=True)
        for answer in side
        for found in answer.detections
        if found.score >= version.threshold
    }
    return sorted(reported - labels)[:100]


def _changed(measures: TaskMeasures, rows: Sequence[int]) -> list[ChangedPicture]:
    pictures = [ChangedPicture(row, tuple(found)) for row in rows if (found := measures.transitions(row))]
    return sorted(pictures, key=lambda each: each.severity, reverse=True)


def promote_command(versions: tuple[ComparedVersion, ComparedVersion], reason: str) -> str | None:
    """The command that makes B production; None where they are not versions of one model."""
    a, b = versions
    if a.model != b.model:
        return None
    return f"okawari promote {b.model} {b.version} --reason {shlex.quote(reason)}"


def _main_change(main: str, figures: BothFigures) -> MeasureChange | None:
    before, after = (each.measures.get(main) for each in figures)
    if before is None or after is None:
        return None
    return MeasureChange(MEASURES[main].title, before, after)


# --- figures ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class MeasureWords:
    """How a measure is called, its unit, and which way is good."""

    title: str
    unit: str = ""
    is_cost: bool = False


#: All measures of a version, in the order in which they are shown.
MEASURES: Mapping[str, MeasureWords] = {
    "ap": MeasureWords("AP"),
    "ap50": MeasureWords("AP50"),
    "ap75": MeasureWords("AP75"),
    "ar": MeasureWords("AR"),
    "accuracy": MeasureWords("accuracy"),
    "precision": MeasureWords("precision"),
    "recall": MeasureWords("recall"),
    "p50_ms": MeasureWords("latency p50", "ms", is_cost=True),
    "p95_ms": MeasureWords("latency p95", "ms", is_cost=True),
    "memory_mb": MeasureWords("resident memory", "MB", is_cost=True),
    "failed": MeasureWords("failed pictures", is_cost=True),
}


def _side(version: ComparedVersion, answers: Sequence[SideAnswer], figures: SideFigures) -> dict[str, Any]:
    spent = [each.ms for each in answers if each.error is None]
    memory = version.memory_bytes
    costs: dict[str, Figure] = {
        "p50_ms": float(np.percentile(spent, 50)) if spent else None,
        "p95_ms": float(np.percentile(spent, 95)) if spent else None,
        "memory_mb": None if memory is None else memory / 1e6,
        "failed": float(len(answers) - len(spent)),
    }
    return {
        "name": version.name,
        "digest": version.digest,
        "threshold": version.threshold,
        "measures": _rounded({**figures.measures, **costs}),
        "classes": {label: _rounded(row) for label, row in figures.classes.items()},
        "findings": sum(
            found.score >= version.threshold for answer in answers for found in answer.detections
        ),
    }


def _rounded(figures: Mapping[str, Figure]) -> dict[str, Figure]:
    return {name: None if value is None else round(float(value), 5) for name, value in figures.items()}


def _slices(
    measures: TaskMeasures, answers: Sequence[PairedAnswer], rows: Sequence[int]
) -> list[dict[str, Any]]:
    """The same figures for parts of the pictures: by camera, hour, brightness, and size of the objects."""
    keys = {
        "camera": [each.facts.camera for each in answers],
        "hour": ["unknown" if each.facts.hour is None else f"{each.facts.hour:02d}" for each in answers],
        "brightness": [each.facts.brightness for each in answers],
    }
    found = []
    for by, values in keys.items():
        counted = Counter(values[row] for row in rows)
        if len(counted) < 2 and by != "brightness":
            continue
        for value, _ in sorted(counted.most_common(_MOST_VALUES)):
            part = [row for row in rows if values[row] == value]
            found.append(_slice(by, value, len(part), measures.figures(part), measures.agreement(part)))
    if isinstance(measures, BoxMeasures):
        found += [
            _slice("box size", area, len(rows), figures, {}) for area, figures in measures.sizes(rows).items()
        ]
    return found


def _slice(
    by: str, value: str, pictures: int, figures: BothFigures, agreement: Mapping[str, Figure]
) -> dict[str, Any]:
    a, b = (_rounded(each.measures) for each in figures)
    return {"by": by, "value": value, "pictures": pictures, "a": a, "b": b, "agreement": _rounded(agreement)}


def _histograms(answers: Sequence[PairedAnswer]) -> dict[str, list[int]]:
    """How many findings have a score in each of the bins of 0..1; of both versions."""
    both = {}
    for side in ("a", "b"):
        scores = [found.score for answer in answers for found in getattr(answer, side).detections]
        counts, _ = np.histogram(np.clip(scores, 0.0, 1.0), bins=_BINS, range=(0.0, 1.0))
        both[side] = [int(count) for count in counts]
    return both


# --- changes ---------------------------------------------------------------------------------------


def _listed(changed: Sequence[ChangedPicture], answers: Sequence[PairedAnswer]) -> dict[str, Any]:
    counts = Counter(each.kind.value for picture in changed for each in picture.transitions)
    return {
        "counts": dict(counts),
        "listed": min(len(changed), _MOST_LISTED),
        "pictures": [
            {
                "picture": answers[picture.row].name,
                "sha256": answers[picture.row].sha256,
                "severity": round(picture.severity[0], 4),
                "gain": picture.gain,
                "transitions": [transition_entry(each) for each in picture.transitions],
            }
            for picture in changed[:_MOST_LISTED]
        ],
    }


def transition_entry(transition: Transition) -> dict[str, Any]:
    """A change as plain values; boxes in 0..1 of the upright picture."""
    return {
        "kind": transition.kind.value,
        "label": transition.label,
        "severity": round(transition.severity, 4),
        "right": transition.right,
        "a": finding_entry(transition.a),
        "b": finding_entry(transition.b),
        "truth": None if transition.truth is None else [round(side, 5) for side in transition.truth],
    }


def finding_entry(found: Detection | None) -> dict[str, Any] | None:
    """A finding as plain values."""
    if found is None:
        return None
    box = None if found.bbox is None else [round(side, 5) for side in found.bbox]
    return {"label": found.label, "score": round(found.score, 4), "bbox": box}
