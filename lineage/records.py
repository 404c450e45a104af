"""The record of one picture: what a device handed in, what a version found, and where the picture lies.

All are plain values that go through JSON unchanged, so that the outbox can keep them in files.
"""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any, Literal
from uuid import UUID, uuid5

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

#: The namespace of picture ids: the same hand-in has the same id in every replica.
_PICTURES = UUID("0b7e9a52-6c0f-5c57-9a6b-2f4f2c1d8e11")


def utc(moment: datetime) -> datetime:
    """The moment in UTC; one without a zone is UTC."""
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


UtcMoment = Annotated[datetime, AfterValidator(utc)]


class ProcessingStatus(StrEnum):
    """How far a picture is: `failed` was accepted and could not be inferred."""

    PENDING = "pending"
    PROCESSING = "processing"
    COMPLETED = "completed"
    FAILED = "failed"


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Capture(_Value):
    """One picture as a device handed it in.

    `sha256` is that of the received bytes, as 64 hexadecimal digits. `clock_offset_ms` is how far the
    device's clock is ahead of ours, in milliseconds, where it said what time it has.
    """

    device_id: str
    captured_at: UtcMoment
    sha256: str
    size_bytes: int
    format: str
    width: int
    height: int
    filename: str | None = None
    idempotency_key: str | None = None
    clock_offset_ms: int | None = None
    metadata: dict[str, Any] = Field(default_factory=dict)

    @property
    def image_id(self) -> UUID:
        """The same for every hand-in of the same bytes by the same device at the same moment."""
        return uuid5(_PICTURES, f"{self.device_id}\n{self.captured_at.isoformat()}\n{self.sha256}")


class FoundObject(_Value):
    """Something found. `bbox` is [x1, y1, x2, y2] in 0..1 of the upright picture."""

    id: UUID
    label: str
    confidence: float
    bbox: tuple[float, float, float, float]
    created_at: UtcMoment
    metadata: dict[str, Any] = Field(default_factory=dict)


class InferenceRun(_Value):
    """One run of a model over the picture."""

    id: UUID
    model_name: str
    model_version: str
    model_digest: str
    started_at: UtcMoment
    completed_at: UtcMoment
    duration_ms: float
    text_prompt: str | None = None
    config: dict[str, Any] = Field(default_factory=dict)
    status: Literal["success", "failed", "timeout"] = "success"
    error_message: str | None = None


class ImageRecord(_Value):
    """A picture with all that is known of it.

    `path` is its place in the picture store, `commit_id` the commit that holds it (None: not yet).
    """

    image_id: UUID
    capture: Capture
    path: str
    uploaded_at: UtcMoment
    status: ProcessingStatus
    processed_at: UtcMoment | None = None
    commit_id: str | None = None
    is_flagged: bool = False
    found: tuple[FoundObject, ...] = ()
    run: InferenceRun | None = None
