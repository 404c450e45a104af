"""The form of a record that every database keeps unchanged, so that a retry is answered as the first time."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from hotswap.errors import BadRequest
from lineage.records import Capture, FoundObject, ImageRecord, InferenceRun

#: The longest Idempotency-Key; a longer one is refused, since a part of it would be another key.
MOST_KEY = 255
#: Digits that a number of four bytes keeps: what PostgreSQL's `real` gives back is what was written.
_DIGITS = 6
_LARGEST, _SMALLEST = 3e38, 1e-37
_FILENAME, _LABEL, _MODEL, _VERSION, _DIGEST, _ERROR = 255, 100, 100, 50, 200, 2_000
_INT = 2**31 - 1


def as_stored(record: ImageRecord) -> ImageRecord:
    """The record as it is written and read: texts and numbers within the columns' limits.

    What was found is in the order of confidence, and nothing was without a run. Raises `BadRequest` for a
    key that is too long.
    """
    claimed = () if record.run is None else record.found
    found = sorted(map(_found, claimed), key=lambda one: (-one.confidence, one.id.hex))
    return record.model_copy(
        update={
            "capture": _capture(record.capture),
            "found": tuple(found),
            "run": None if record.run is None else _run(record.run),
        }
    )


def check_key(key: str | None) -> None:
    """Refuse an Idempotency-Key that no record can have. Raises `BadRequest`."""
    if key is None:
        return
    if not 1 <= len(key) <= MOST_KEY:
        raise BadRequest(f"Idempotency-Key has {len(key)} characters: allowed are 1 to {MOST_KEY}")
    if key != plain_text(key):
        raise BadRequest("Idempotency-Key holds what is no text: use letters and digits")


def _capture(capture: Capture) -> Capture:
    check_key(capture.idempotency_key)
    offset = capture.clock_offset_ms
    return capture.model_copy(
        update={
            "filename": None if capture.filename is None else plain_text(capture.filename)[:_FILENAME],
            "clock_offset_ms": None if offset is None else max(-_INT, min(_INT, offset)),
            "metadata": plain_json(capture.metadata),
        }
    )


def _found(found: FoundObject) -> FoundObject:
    return found.model_copy(
        update={
            "label": plain_text(found.label)[:_LABEL],
            "confidence": _share(found.confidence),
            "bbox": tuple(map(_share, found.bbox)),
            "metadata": plain_json(found.metadata),
        }
    )


def _run(run: InferenceRun) -> InferenceRun:
    return run.model_copy(
        update={
            "model_name": plain_text(run.model_name)[:_MODEL],
            "model_version": plain_text(run.model_version)[:_VERSION],
            "model_digest": plain_text(run.model_digest)[:_DIGEST],
            "duration_ms": number(run.duration_ms),
            "text_prompt": None if run.text_prompt is None else plain_text(run.text_prompt),
            "config": plain_json(run.config),
            "error_message": None if run.error_message is None else plain_text(run.error_message)[:_ERROR],
        }
    )


def number(value: float) -> float:
    """The number with six digits; 0 for what is none, or too small for four bytes."""
    if math.isnan(value) or abs(value) < _SMALLEST:
        return 0.0
    return float(f"{max(-_LARGEST, min(_LARGEST, value)):.{_DIGITS}g}")


def _share(value: float) -> float:
    return max(0.0, min(1.0, number(value)))


def plain_text(text: str) -> str:
    """The text without what PostgreSQL keeps in no text: NUL, and halves of characters."""
    return text.encode("utf-8", "replace").decode().replace("\0", "")


def plain_json(value: Any) -> Any:
    """The value as JSON keeps it: NaN and infinities become null, other objects their text."""
    if isinstance(value, str):
        return plain_text(value)
    if isinstance(value, Mapping):
        return {plain_text(str(key)): plain_json(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain_json(one) for one in value]
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return plain_text(str(value))
