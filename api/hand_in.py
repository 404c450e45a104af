"""What a device hands in: the fields of its forms, checked."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from api import options as predict_options
from hotswap.errors import BadRequest
from hotswap.predictions import Options
from lineage.paths import DEVICE_ID

#: Options that a form may have beside the usual ones of the service.
OPTIONS = ("text_prompt", "box_threshold", "text_threshold", "nms_threshold")
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}[Tt ]\d{2}:\d{2}")
_EARLIEST, _LATEST = datetime(1970, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC)
_MOST_METADATA = 65_536
_LONGEST_KEY = 255
_DEEPEST = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class HandIn:
    """One picture as it came; `clock_offset_ms`: how far the device's clock is ahead of ours."""

    data: bytes
    device_id: str
    captured_at: datetime
    options: Options
    filename: str | None = None
    idempotency_key: str | None = None
    clock_offset_ms: int | None = None
    metadata: Mapping[str, Any]


def device_id(text: str | None) -> str:
    """Raises `BadRequest`."""
    if text is None:
        raise BadRequest("device_id: missing; send the id of the device")
    if not DEVICE_ID.fullmatch(text):
        raise BadRequest(
            f"device_id: {text[:64]!r}: allowed are 1 to 100 letters, digits and ._- , beginning with a "
            "letter or digit"
        )
    return text


def moment(field: str, text: object) -> datetime:
    """A time by ISO 8601, in UTC; one without a zone is UTC. Raises `BadRequest`."""
    try:
        if not isinstance(text, str) or not _DATE.match(text):
            raise ValueError
        found = datetime.fromisoformat(text.strip())
        found = found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
        if not _EARLIEST <= found < _LATEST:
            raise ValueError
        return found
    except (ValueError, OverflowError):
        shown = "missing" if text is None else f"{str(text)[:64]!r}"
        raise BadRequest(
            f"{field}: {shown}; send when the picture was taken, from 1970 to 2199, by ISO 8601, such as "
            "2026-11-29T14:05:00Z"
        ) from None


def metadata(field: str, text: object) -> dict[str, Any]:
    """A JSON object of at most 64 kB. Raises `BadRequest`."""
    if text is None or text == "":
        return {}
    found = text if isinstance(text, dict) else document(field, str(text))
    if not isinstance(found, dict):
        raise BadRequest(f'{field}: must be a JSON object such as {{"site": "north"}}')
    return found


def document(field: str, text: str) -> Any:
    """A JSON document, without NaN. Raises `BadRequest`."""
    if len(text) > _MOST_METADATA:
        raise BadRequest(f"{field}: more than {_MOST_METADATA} characters; send less")
    try:
        found = json.loads(text, parse_constant=_no_constant)
        if _depth(found) > _DEEPEST:
            raise RecursionError
        json.dumps(found, ensure_ascii=False).encode()
    except RecursionError:
        raise BadRequest(f"{field}: nested deeper than {_DEEPEST} levels") from None
    except ValueError as error:
        raise BadRequest(f"{field}: not JSON: {str(error)[:100]}") from None
    if "\\u0000" in text:
        raise BadRequest(f"{field}: the character U+0000 cannot be stored; leave it out")
    return found


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not a JSON number")


def _depth(value: object) -> int:
    if isinstance(value, dict):
        return 1 + max(map(_depth, value.values()), default=0)
    if isinstance(value, list):
        return 1 + max(map(_depth, value), default=0)
    return 0


def options(values: Mapping[str, object]) -> Options:
    """The options among the fields of a form. Raises `BadRequest`."""
    return predict_options.options({name: values.get(name) for name in OPTIONS})


def idempotency_key(headers: Mapping[str, str], longest: int = _LONGEST_KEY) -> str | None:
    """The header of that name. Raises `BadRequest` for one that is too long."""
    key = headers.get("idempotency-key")
    if key is not None and not 0 < len(key) <= longest:
        raise BadRequest(f"Idempotency-Key: it must have 1 to {longest} characters")
    return key


def clock_offset_ms(headers: Mapping[str, str], now: datetime) -> int | None:
    """How far the clock of the device is ahead, by its header Date (RFC 9110, 6.6.1); None without one.

    A clock that is off by more than 24 days counts as so much.
    """
    try:
        sent = parsedate_to_datetime(headers["date"])
        offset = (sent.astimezone(UTC) - now).total_seconds() * 1e3
    except (KeyError, ValueError, TypeError, OverflowError):
        return None
    most = 2**31 - 1
    return max(-most, min(most, round(offset)))


def file_name(name: str | None) -> str | None:
    """The last part of a file's name, for people; it never becomes a path."""
    if not name:
        return None
    bare = re.split(r"[/\\]", name)[-1]
    return "".join(char for char in bare if char.isprintable())[:255] or None
