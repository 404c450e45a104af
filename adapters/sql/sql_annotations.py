"""What people say about answers, in `data_annotations`, and the flag of a picture."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import Connection, Row, insert, select, update

from adapters.sql.database import Database
from adapters.sql.lineage_tables import ANNOTATIONS, DETECTIONS, IMAGES
from hotswap.errors import BadRequest
from lineage.annotations import Annotation, AnnotationType


class SqlAnnotations:
    """An `AnnotationStore` in SQLite or PostgreSQL."""

    def __init__(self, database: Database) -> None:
        """The database stays the caller's, who closes it."""
        self._database = database

    def add(self, annotation: Annotation, moment: datetime) -> UUID:
        """See `AnnotationStore`."""
        annotation_id = uuid4()
        row = {
            "id": annotation_id,
            "image_id": annotation.image_id,
            "detection_id": annotation.detection_id,
            "annotation_type": annotation.type.value,
            "corrected_bbox": annotation.bbox,
            "corrected_label": annotation.label,
            "annotator": annotation.annotator,
            "annotated_at": moment,
            "notes": annotation.notes,
        }
        with self._database.writing() as connection:
            _check(connection, annotation)
            connection.execute(insert(ANNOTATIONS).values(row))
        return annotation_id

    def of(self, image_id: UUID) -> Sequence[Annotation]:
        """See `AnnotationStore`."""
        these = select(ANNOTATIONS).where(ANNOTATIONS.c.image_id == image_id)
        ordered = these.order_by(ANNOTATIONS.c.annotated_at, ANNOTATIONS.c.id)
        with self._database.reading() as connection:
            return [_annotation(row) for row in connection.execute(ordered)]

    def flag(self, image_id: UUID, *, is_flagged: bool) -> None:
        """See `AnnotationStore`."""
        change = update(IMAGES).where(IMAGES.c.id == image_id).values(is_flagged=is_flagged)
        with self._database.writing() as connection:
            if connection.execute(change).rowcount == 0:
                raise BadRequest(f"there is no picture {image_id}")


def _check(connection: Connection, annotation: Annotation) -> None:
    # The lock holds up a clean-up that has chosen this picture: it looks again when it has it.
    locked = select(IMAGES.c.id).where(IMAGES.c.id == annotation.image_id).with_for_update(read=True)
    if connection.execute(locked).first() is None:
        raise BadRequest(f"there is no picture {annotation.image_id}")
    if annotation.detection_id is None:
        return
    its = select(DETECTIONS.c.id).where(
        DETECTIONS.c.id == annotation.detection_id, DETECTIONS.c.image_id == annotation.image_id
    )
    if connection.execute(its).first() is None:
        raise BadRequest(f"{annotation.detection_id} is no detection of picture {annotation.image_id}")


def _annotation(row: Row[Any]) -> Annotation:
    return Annotation(
        image_id=row.image_id,
        type=AnnotationType(row.annotation_type),
        detection_id=row.detection_id,
        bbox=None if row.corrected_bbox is None else tuple(row.corrected_bbox),
        label=row.corrected_label,
        annotator=row.annotator,
        notes=row.notes,
    )
