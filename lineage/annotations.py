"""What people say about answers: false positives, missed objects, wrong boxes and labels; flagged pictures.

Retention keeps a picture that somebody flagged or annotated as long as the limit of the storage allows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol
from uuid import UUID

from hotswap.errors import BadRequest

#: [x1, y1, x2, y2] in 0..1 of the upright picture.
BoundingBox = tuple[float, float, float, float]
_LONGEST_LABEL = 100
_LONGEST_NOTES = 10_000


class AnnotationType(StrEnum):
    """What is wrong with an answer."""

    FALSE_POSITIVE = "false_positive"
    MISSED_DETECTION = "missed_detection"
    INCORRECT_BBOX = "incorrect_bbox"
    WRONG_LABEL = "wrong_label"


@dataclass(frozen=True, slots=True)
class Annotation:
    """One statement about a picture. Raises `BadRequest` when it is made without what its type needs.

    A missed detection is about the picture; the other types are about one of its detections.
    """

    image_id: UUID
    type: AnnotationType
    detection_id: UUID | None = None
    bbox: BoundingBox | None = None
    label: str | None = None
    annotator: str | None = None
    notes: str | None = None

    def __post_init__(self) -> None:
        is_missed = self.type is AnnotationType.MISSED_DETECTION
        if is_missed == (self.detection_id is not None):
            needs = "no detection: it is about what was not found" if is_missed else "a detection"
            raise BadRequest(f"{self.type} needs {needs}")
        if self.type is AnnotationType.INCORRECT_BBOX and self.bbox is None:
            raise BadRequest("incorrect_bbox needs the right box")
        if self.type is AnnotationType.WRONG_LABEL and self.label is None:
            raise BadRequest("wrong_label needs the right label")
        if self.bbox is not None:
            _check_box(self.bbox)
        _check_text("label", self.label, _LONGEST_LABEL)
        _check_text("annotator", self.annotator, _LONGEST_LABEL)
        _check_text("notes", self.notes, _LONGEST_NOTES)


class AnnotationStore(Protocol):
    """Where statements and flags are kept. Raises `RecordsUnavailable`."""

    def add(self, annotation: Annotation, moment: datetime) -> UUID:
        """Keep a statement; its id.

        Raises `BadRequest` where there is no such picture, or the detection is none of it.
        """
        ...

    def of(self, image_id: UUID) -> Sequence[Annotation]:
        """What was said about a picture, the first one first."""
        ...

    def flag(self, image_id: UUID, *, is_flagged: bool) -> None:
        """Mark a picture as worth a look, or take that back. Raises `BadRequest` where there is none."""
        ...


def _check_box(box: BoundingBox) -> None:
    x1, y1, x2, y2 = box
    # Comparisons with NaN are false, too.
    if not (0 <= x1 < x2 <= 1 and 0 <= y1 < y2 <= 1):
        raise BadRequest("a box is x1,y1,x2,y2 with 0 <= x1 < x2 <= 1 and 0 <= y1 < y2 <= 1")


def _check_text(name: str, text: str | None, most: int) -> None:
    if text is not None and not (text.strip() and len(text) <= most and "\0" not in text):
        raise BadRequest(f"{name} has 1 to {most} characters")
