"""The form of `/api/v1/detect`: one picture and its fields, in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from api import hand_in
from api.errors import UnsupportedMediaType
from api.hand_in import HandIn
from api.http import multipart
from api.http.multipart import Part
from hotswap.errors import BadPicture, BadRequest

FORM = "multipart/form-data"
FIELDS = ("device_id", "timestamp", "metadata", *hand_in.OPTIONS)
_HOW = "send a form: curl -F image=@x.jpg -F device_id=camera-1 -F timestamp=2026-11-29T14:05:00Z"


def check_media(content_type: str) -> None:
    """Raise `UnsupportedMediaType` for another body than a form."""
    kind = content_type.partition(";")[0].strip().lower()
    if kind != FORM:
        raise UnsupportedMediaType(f"Content-Type {kind or '(none)'!r}: accepted is {FORM}; {_HOW}")


def parse(body: bytes, headers: Mapping[str, str]) -> HandIn:
    """The picture with its fields. Raises `BadRequest` naming the field."""
    check_media(headers.get("content-type", ""))
    parts = multipart.parse(body, headers.get("content-type", ""))
    check_names(parts, ("image", *FIELDS))
    image = next((part for part in parts if part.name == "image"), None)
    if image is None or not image.data:
        raise BadPicture(f"image: {'missing' if image is None else 'empty'}; {_HOW}")
    values = {part.name: text(part) for part in parts if part.name != "image"}
    return HandIn(
        data=image.data,
        device_id=hand_in.device_id(values.get("device_id")),
        captured_at=hand_in.moment("timestamp", values.get("timestamp")),
        options=hand_in.options(values),
        filename=hand_in.file_name(image.filename),
        idempotency_key=hand_in.idempotency_key(headers),
        clock_offset_ms=hand_in.clock_offset_ms(headers, datetime.now(UTC)),
        metadata=hand_in.metadata("metadata", values.get("metadata")),
    )


def check_names(parts: Sequence[Part], allowed: Sequence[str], several: str | None = None) -> None:
    """Raise `BadRequest` for an unknown field, and for one that comes twice unless it is `several`."""
    names = [part.name for part in parts]
    if unknown := next((name for name in names if name not in allowed), None):
        raise BadRequest(f"unknown field {unknown[:64]!r}; allowed are {', '.join(allowed)}")
    if "" in names:
        raise BadRequest(f"a part of the form has no name; allowed are {', '.join(allowed)}")
    twice = next((name for name in names if names.count(name) > 1 and name != several), None)
    if twice is not None:
        raise BadRequest(f"duplicate field: {twice}; send it once")


def text(part: Part) -> str:
    """The text of a field. Raises `BadRequest`."""
    try:
        found = part.data.decode()
    except UnicodeDecodeError:
        raise BadRequest(f"{part.name}: not UTF-8 text") from None
    if "\0" in found:
        raise BadRequest(f"{part.name}: the character U+0000 is not allowed")
    return found
