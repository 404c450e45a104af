"""Records of pictures as rows of `images`, `detections` and `inference_sessions`, and back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import ColumnElement, Connection, Row, select

from adapters.sql.lineage_tables import DETECTIONS, DEVICES, IMAGES, SESSIONS
from lineage.records import Capture, FoundObject, ImageRecord, InferenceRun, ProcessingStatus


def image_row(record: ImageRecord, device: UUID) -> dict[str, object]:
    """The row of a picture; `device` is its device's row."""
    capture = record.capture
    return {
        "id": record.image_id,
        "device_id": device,
        "lakefs_path": record.path,
        "lakefs_commit_id": record.commit_id,
        "original_filename": capture.filename,
        "captured_at": capture.captured_at,
        "uploaded_at": record.uploaded_at,
        "width": capture.width,
        "height": capture.height,
        "format": capture.format,
        "size_bytes": capture.size_bytes,
        "processing_status": record.status.value,
        "processed_at": record.processed_at,
        "has_detections": bool(record.found),
        "is_flagged": record.is_flagged,
        "metadata": capture.metadata,
        "sha256": capture.sha256,
        "idempotency_key": capture.idempotency_key,
        "clock_offset_ms": capture.clock_offset_ms,
    }


def detection_rows(record: ImageRecord) -> list[dict[str, object]]:
    """A row for each object that was found; none without a run, which alone says who found it."""
    run = record.run
    if run is None:
        return []
    return [
        {
            "id": one.id,
            "image_id": record.image_id,
            **{f"bbox_{name}": value for name, value in zip(("x1", "y1", "x2", "y2"), one.bbox, strict=True)},
            "confidence": one.confidence,
            "label": one.label,
            "model_name": run.model_name,
            "model_version": run.model_version,
            "created_at": one.created_at,
            "metadata": one.metadata,
            "model_digest": run.model_digest,
        }
        for one in record.found
    ]


def session_row(record: ImageRecord, run: InferenceRun) -> dict[str, object]:
    """The row of the run over a picture."""
    fields = {name: getattr(run, name) for name in InferenceRun.model_fields}
    return fields | {
        "image_id": record.image_id,
        "num_detections": len(record.found),
        "max_confidence": max((one.confidence for one in record.found), default=None),
    }


def device_row(device_id: str, moment: object) -> dict[str, object]:
    """The row of a device that was not known before."""
    return {
        "id": uuid4(),
        "device_id": device_id,
        "created_at": moment,
        "last_seen": moment,
        "metadata": {},
    }


def read_images(connection: Connection, condition: ColumnElement[bool]) -> list[ImageRecord]:
    """The records of the pictures that fit, in the order of their paths; the condition may name devices."""
    joined = select(IMAGES, DEVICES.c.device_id.label("device")).join(DEVICES).where(condition)
    rows = connection.execute(joined).all()
    if not rows:
        return []
    chosen = select(IMAGES.c.id).join(DEVICES).where(condition)
    found = _grouped(connection.execute(select(DETECTIONS).where(DETECTIONS.c.image_id.in_(chosen))).all())
    runs = _grouped(connection.execute(select(SESSIONS).where(SESSIONS.c.image_id.in_(chosen))).all())
    records = (_record(row, found.get(row.id, []), runs.get(row.id, [])) for row in rows)
    return sorted(records, key=lambda record: record.path)


def _grouped(rows: Sequence[Row[Any]]) -> dict[UUID, list[Row[Any]]]:
    groups: dict[UUID, list[Row[Any]]] = {}
    for row in rows:
        groups.setdefault(row.image_id, []).append(row)
    return groups


def _record(row: Row[Any], found: list[Row[Any]], runs: list[Row[Any]]) -> ImageRecord:
    """What was checked when it was written, and by the database's own rules, is not checked again."""
    first = min(runs, key=lambda run: (run.started_at, run.id.hex), default=None)
    # A later run of another model over the same picture adds detections of its own.
    ours = [one for one in found if first is not None and _model(one) == _model(first)]
    ordered = sorted(ours, key=lambda one: (-one.confidence, one.id.hex))
    return ImageRecord.model_construct(
        image_id=row.id,
        capture=_capture(row),
        path=row.lakefs_path,
        uploaded_at=row.uploaded_at,
        status=ProcessingStatus(row.processing_status),
        processed_at=row.processed_at,
        commit_id=row.lakefs_commit_id,
        is_flagged=row.is_flagged,
        found=tuple(map(_found, ordered)),
        run=None if first is None else _run(first),
    )


def _model(row: Row[Any]) -> tuple[str, str, str]:
    return row.model_name, row.model_version, row.model_digest


def _capture(row: Row[Any]) -> Capture:
    return Capture.model_construct(
        device_id=row.device,
        captured_at=row.captured_at,
        sha256=row.sha256,
        size_bytes=row.size_bytes,
        format=row.format,
        width=row.width,
        height=row.height,
        filename=row.original_filename,
        idempotency_key=row.idempotency_key,
        clock_offset_ms=row.clock_offset_ms,
        metadata=row.metadata or {},
    )


def _found(row: Row[Any]) -> FoundObject:
    return FoundObject.model_construct(
        id=row.id,
        label=row.label,
        confidence=row.confidence,
        bbox=(row.bbox_x1, row.bbox_y1, row.bbox_x2, row.bbox_y2),
        created_at=row.created_at,
        metadata=row.metadata or {},
    )


def _run(row: Row[Any]) -> InferenceRun:
    return InferenceRun.model_construct(
        id=row.id,
        model_name=row.model_name,
        model_version=row.model_version,
        model_digest=row.model_digest,
        started_at=row.started_at,
        completed_at=row.completed_at or row.started_at,
        duration_ms=row.duration_ms or 0.0,
        text_prompt=row.text_prompt,
        config=row.config or {},
        status=row.status,
        error_message=row.error_message,
    )
