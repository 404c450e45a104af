"""Records of hand-ins for tests: different bytes and moments for each number."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from hashlib import sha256
from uuid import uuid5

from lineage.records import Capture, FoundObject, ImageRecord, InferenceRun, ProcessingStatus

NOON = datetime(2026, 11, 29, 12, tzinfo=UTC)


def data(number: int) -> bytes:
    """The bytes of a picture."""
    return f"picture {number}".encode() * 20


def capture(number: int = 1, *, device: str = "camera-1", key: str | None = None) -> Capture:
    """A hand-in; equal numbers are the same picture."""
    return Capture(
        device_id=device,
        captured_at=NOON + timedelta(seconds=number),
        sha256=sha256(data(number)).hexdigest(),
        size_bytes=len(data(number)),
        format="jpg",
        width=640,
        height=480,
        filename=f"{number}.jpg",
        idempotency_key=key,
        metadata={"number": number},
    )


def record(number: int = 1, *, version: str = "v1", taken: Capture | None = None) -> ImageRecord:
    """What a version said of it."""
    taken = taken or capture(number)
    image_id = taken.image_id
    return ImageRecord(
        image_id=image_id,
        capture=taken,
        path="",
        uploaded_at=NOON,
        status=ProcessingStatus.COMPLETED,
        processed_at=NOON,
        found=(
            FoundObject(
                id=uuid5(image_id, "0"), label="bird", confidence=0.5, bbox=(0, 0, 0.5, 1), created_at=NOON
            ),
        ),
        run=InferenceRun(
            id=uuid5(image_id, "run"),
            model_name="m",
            model_version=version,
            model_digest=f"sha256:{version}",
            started_at=NOON,
            completed_at=NOON,
            duration_ms=12.5,
        ),
    )
