"""What stands on the topics: messages that name a picture, and records of what became of them."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

#: Most bytes of a message: it names a picture and holds none.
MOST_BYTES = 65_536
_MOST_BUCKET, _MOST_KEY, _MOST_CAMERA = 255, 1024, 255

Header = tuple[str, bytes | None]


class BadMessage(Exception):
    """A message that can never be answered; `code` is for programs, the text for people."""

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Position:
    """Where a message stands: the same for every try, so it names its outcome, too."""

    topic: str
    partition: int
    offset: int

    @property
    def id(self) -> str:
        """The id of its outcome."""
        return f"{self.topic}-{self.partition}-{self.offset}"


@dataclass(frozen=True, slots=True)
class IncomingRecord:
    """A record as it was read."""

    position: Position
    value: bytes | None
    key: bytes | None = None
    headers: Sequence[Header] = ()

    def header(self, name: str) -> str | None:
        """The last header of that name."""
        found = next((value for key, value in reversed(self.headers) if key == name), None)
        return None if found is None else found.decode("utf-8", "replace")


@dataclass(frozen=True, slots=True)
class OutgoingRecord:
    """A record to be written."""

    topic: str
    value: bytes | None
    key: bytes | None = None
    headers: tuple[Header, ...] = ()


@dataclass(frozen=True, slots=True)
class ImageMessage:
    """A picture in a bucket. `fields` is the whole message, which may say more than is read here."""

    bucket: str
    key: str
    camera: str | None
    publish_ts_ms: int | None
    extra: Mapping[str, Any] | None
    fields: Mapping[str, Any]


def parse(value: bytes | None) -> ImageMessage:
    """Read a message: `bucket` and `key`, perhaps `camera`, `publish_ts_ms` and `extra`.

    Raises `BadMessage`, which names the field, what was found and what is allowed.
    """
    fields = _document(value)
    moment = fields.get("publish_ts_ms")
    if moment is not None and (isinstance(moment, bool) or not isinstance(moment, int) or moment < 0):
        raise _invalid("publish_ts_ms", moment, "milliseconds since 1970, a whole number")
    extra = fields.get("extra")
    if extra is not None and not isinstance(extra, dict):
        raise _invalid("extra", extra, "an object")
    return ImageMessage(
        bucket=_text(fields, "bucket", _MOST_BUCKET),
        key=_text(fields, "key", _MOST_KEY),
        camera=None if fields.get("camera") is None else _text(fields, "camera", _MOST_CAMERA),
        publish_ts_ms=moment,
        extra=extra,
        fields=fields,
    )


def _document(value: bytes | None) -> dict[str, Any]:
    if not value:
        raise BadMessage("invalid_message", "the message is empty; send a JSON object with bucket and key")
    if len(value) > MOST_BYTES:
        raise BadMessage("message_too_large", f"the message has {len(value)} bytes; allowed are {MOST_BYTES}")
    try:
        fields = json.loads(value, parse_constant=_no_number, parse_float=_finite)
    except (ValueError, RecursionError) as error:
        raise BadMessage("invalid_message", f"the message is no JSON: {str(error)[:200]}") from None
    if not isinstance(fields, dict):
        raise BadMessage("invalid_message", f"the message is a JSON {type(fields).__name__}, not an object")
    return fields


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is no JSON number")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text[:40]} is no number that can be written again")
    return number


def _text(fields: Mapping[str, Any], name: str, most: int) -> str:
    found = fields.get(name)
    if not isinstance(found, str) or not 0 < len(found) <= most or "\0" in found or not _is_text(found):
        raise _invalid(name, found, f"a text of 1 to {most} characters")
    return found


def _is_text(text: str) -> bool:
    """Whether it can be encoded: JSON can escape halves of characters."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _invalid(name: str, found: object, allowed: str) -> BadMessage:
    shown = "nothing" if found is None else repr(found)[:100]
    return BadMessage("invalid_message", f"{name}: expected {allowed}, found {shown}")
