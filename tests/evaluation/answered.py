"""Answers of two versions that are made up."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from evaluation.answers import PairedAnswer, SideAnswer
from evaluation.coco_truth import CocoTruth, TrueObject, TruePicture
from evaluation.comparison import ComparedVersion
from evaluation.picture_facts import PictureFacts
from hotswap.predictions import Box, Detection, Mask

BOX: Box = (0.1, 0.1, 0.5, 0.5)
FACTS = PictureFacts("cam-1", 12, 120.0)


def found(label: str, score: float = 0.9, box: Box | None = BOX, mask: Mask | None = None) -> Detection:
    """A finding."""
    return Detection(label, 0, score, box, mask=mask)


def side(
    *detections: Detection,
    embedding: Sequence[float] | None = None,
    error: str | None = None,
    ms: float = 4.0,
) -> SideAnswer:
    """What one version says."""
    vector = None if embedding is None else np.array(embedding, dtype=np.float32)
    return SideAnswer(detections, ms, vector, error)


def pair(name: str, a: SideAnswer, b: SideAnswer, facts: PictureFacts = FACTS) -> PairedAnswer:
    """Both answers to a picture of 100 x 100 pixels."""
    return PairedAnswer(name, "0" * 64, 100, 100, facts, a, b)


def versions(
    labels: Sequence[str] = ("cat", "dog"), other: str = "m"
) -> tuple[ComparedVersion, ComparedVersion]:
    """m:v1 and m:v2, or a version of another model."""
    known = frozenset(labels)
    return (
        ComparedVersion("m", "v1", f"sha256:{'1' * 64}", 0.5, known, 40_000_000),
        ComparedVersion(other, "v2", f"sha256:{'2' * 64}", 0.5, known, 50_000_000),
    )


def truth_of(**pictures: str | None) -> CocoTruth:
    """A picture `name.jpg` with an object of a label at BOX, or with none."""
    parts = [
        TruePicture(
            f"{name}.jpg", 100, 100, () if label is None else (TrueObject(label, (10, 10, 50, 50), 1600.0),)
        )
        for name, label in pictures.items()
    ]
    return CocoTruth.of(parts, ["cat", "dog"])
