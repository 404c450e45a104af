"""The fields of `/api/v1/detect/batch`, and the pictures as hand-ins of their own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from api import hand_in
from api.hand_in import HandIn
from api.http import detect_form
from api.http.spooled_form import SpooledForm, SpooledPicture
from hotswap.errors import BadRequest
from hotswap.predictions import Options

#: Room for the place of each picture behind it.
_LONGEST_KEY = 240
FIELDS = ("device_id", "metadata", "timestamps", "metadatas", *hand_in.OPTIONS)


@dataclass(frozen=True, slots=True)
class BatchFields:
    """What a batch says of its pictures; lists have one element for each picture, or none at all."""

    device_id: str
    options: Options
    metadata: Mapping[str, Any]
    received: datetime
    timestamps: tuple[object, ...]
    metadatas: tuple[object, ...]
    idempotency_key: str | None
    clock_offset_ms: int | None

    def hand_in(self, index: int, picture: SpooledPicture) -> HandIn:
        """One picture of the batch; its file is read and removed. Raises `BadRequest` for a field of its own.

        Without a time of its own it counts as taken when the batch came.
        """
        data = picture.data()
        own = hand_in.metadata(f"metadatas[{index}]", self.metadatas[index] if self.metadatas else None)
        captured_at = self.received
        if self.timestamps:
            captured_at = hand_in.moment(f"timestamps[{index}]", self.timestamps[index])
        key = self.idempotency_key
        return HandIn(
            data=data,
            device_id=self.device_id,
            captured_at=captured_at,
            options=self.options,
            filename=hand_in.file_name(picture.filename),
            idempotency_key=None if key is None else f"{key}/{index}",
            clock_offset_ms=self.clock_offset_ms,
            metadata={**self.metadata, **own},
        )


def fields(form: SpooledForm, headers: Mapping[str, str]) -> BatchFields:
    """The fields of a batch. Raises `BadRequest` naming the field."""
    detect_form.check_names(form.fields, FIELDS)
    values = {part.name: detect_form.text(part) for part in form.fields}
    if not form.pictures:
        raise BadRequest("images: missing; send at least one picture, each as a part of this name")
    received = datetime.now(UTC)
    key = hand_in.idempotency_key(headers, _LONGEST_KEY)
    return BatchFields(
        device_id=hand_in.device_id(values.get("device_id")),
        options=hand_in.options(values),
        metadata=hand_in.metadata("metadata", values.get("metadata")),
        received=received,
        timestamps=_per_picture("timestamps", values.get("timestamps"), len(form.pictures)),
        metadatas=_per_picture("metadatas", values.get("metadatas"), len(form.pictures)),
        idempotency_key=key,
        clock_offset_ms=hand_in.clock_offset_ms(headers, received),
    )


def _per_picture(field: str, text: str | None, count: int) -> tuple[object, ...]:
    """A JSON list with an element for each picture; empty where the field is left out."""
    if not text:
        return ()
    found = hand_in.document(field, text)
    if not isinstance(found, list) or len(found) != count:
        size = f"a list of {len(found)}" if isinstance(found, list) else type(found).__name__
        raise BadRequest(
            f"{field}: must be a JSON list with one element for each of {count} pictures, not {size}"
        )
    return tuple(found)
