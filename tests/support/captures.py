"""Records of pictures as the service makes them, for tests."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any
from uuid import uuid4

from lineage.paths import path_of
from lineage.records import Capture, FoundObject, ImageRecord, InferenceRun, ProcessingStatus

NOON = datetime(2026, 11, 29, 12, tzinfo=UTC)
DIGEST = f"sha256:{'a' * 64}"


def a_capture(number: int = 1, *, device: str = "cam-1", **changes: Any) -> Capture:
    """The picture number so-and-so, handed in as many seconds after noon."""
    fields: dict[str, Any] = {
        "device_id": device,
        "captured_at": NOON + timedelta(seconds=number),
        "sha256": sha256(f"{number}".encode()).hexdigest(),
        "size_bytes": 1_000 + number,
        "format": "jpg",
        "width": 640,
        "height": 480,
    }
    return Capture(**fields | changes)


def a_run(**changes: Any) -> InferenceRun:
    """A run that succeeded."""
    fields: dict[str, Any] = {
        "id": uuid4(),
        "model_name": "shapes",
        "model_version": "v2",
        "model_digest": DIGEST,
        "started_at": NOON,
        "completed_at": NOON + timedelta(milliseconds=40),
        "duration_ms": 40.0,
        "config": {"box_threshold": 0.3},
    }
    return InferenceRun(**fields | changes)


def something(**changes: Any) -> FoundObject:
    """Something found."""
    fields: dict[str, Any] = {
        "id": uuid4(),
        "label": "bird",
        "confidence": 0.75,
        "bbox": (0.1, 0.2, 0.3, 0.4),
        "created_at": NOON,
    }
    return FoundObject(**fields | changes)


def a_record(capture: Capture | None = None, **changes: Any) -> ImageRecord:
    """The record of a picture on which something was found."""
    capture = capture or a_capture()
    fields: dict[str, Any] = {
        "image_id": capture.image_id,
        "capture": capture,
        "path": path_of(capture, 32),
        "uploaded_at": capture.captured_at + timedelta(seconds=60),
        "processed_at": capture.captured_at + timedelta(seconds=61),
        "status": ProcessingStatus.COMPLETED,
        "found": (something(),),
        "run": a_run(),
    }
    return ImageRecord(**fields | changes)
