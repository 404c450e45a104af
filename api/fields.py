"""The fields of a predict request, wherever they stand: query, form or JSON."""

from __future__ import annotations

import base64
import binascii
import math
from collections.abc import Mapping
from dataclasses import dataclass

import orjson

from api import multipart
from api.errors import UnsupportedMediaType
from hotswap.errors import BadRequest

NAMES = ("model", "version", "threshold", "max_detections")
_LINE_BREAKS = {ord(each): None for each in "\r\n"}
_ACCEPTED = "multipart/form-data, image/*, application/octet-stream, application/json"


@dataclass(frozen=True, slots=True)
class PredictFields:
    """What a predict request says, checked."""

    image: bytes
    model: str | None = None
    version: str | None = None
    threshold: float | None = None
    max_detections: int = 100


def parse(content_type: str, query: Mapping[str, str], body: bytes) -> PredictFields:
    """Read a request. Raises `BadRequest` naming the field, or `UnsupportedMediaType`."""
    image, values = _of_body(content_type, body)
    _known(query, NAMES)
    if query and values:  # what the body overrules must be right all the same
        checked(image, query)
    return checked(image, {**query, **values})


def checked(image: bytes, values: Mapping[str, object], *, field: str = "image") -> PredictFields:
    """Hold values against the rules that every wire has; raise `BadRequest` naming the field.

    `field` is what the wire calls the picture.
    """
    if not image:
        raise BadRequest(f"{field}: it is empty or missing; send the bytes of a JPEG, PNG, WebP or BMP")
    return PredictFields(
        image=image,
        model=_text("model", values.get("model")),
        version=_version(values.get("version")),
        threshold=_threshold(values.get("threshold")),
        max_detections=_max_detections(values.get("max_detections")),
    )


def _of_body(content_type: str, body: bytes) -> tuple[bytes, dict[str, object]]:
    kind = content_type.partition(";")[0].strip().lower()
    if kind == "multipart/form-data":
        return _of_form(multipart.parse(body, content_type))
    if kind == "application/json":
        return _of_json(body)
    if kind.startswith("image/") or kind == "application/octet-stream":
        return body, {}
    raise UnsupportedMediaType(f"Content-Type {kind or '(none)'!r}: accepted are {_ACCEPTED}")


def _of_form(parts: list[multipart.Part]) -> tuple[bytes, dict[str, object]]:
    image: bytes | None = None
    values: dict[str, object] = {}
    for part in parts:
        if part.name in values or (part.name == "image" and image is not None):
            raise BadRequest(f"{part.name}: it is there twice; send one")
        if part.name == "image":
            image = part.data
        else:
            values[part.name] = _form_value(part)
    _known(values, NAMES)
    return image or b"", values


def _form_value(part: multipart.Part) -> object:
    """A form value; BentoML's generated client sends it as JSON, with its quotes."""
    try:
        text = part.data.decode()
    except UnicodeDecodeError:
        raise BadRequest(f"{part.name}: it is not UTF-8 text") from None
    if text == "null":
        return None
    if len(text) >= 2 and text[0] == text[-1] == '"':
        try:
            return orjson.loads(text)
        except orjson.JSONDecodeError:
            return text
    return text


def _of_json(body: bytes) -> tuple[bytes, dict[str, object]]:
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise BadRequest(f"the body is not JSON: {error}") from None
    if not isinstance(document, dict):
        raise BadRequest('the body must be an object such as {"image": "<base64>"}')
    _known(document, ("image", *NAMES))
    image = document.pop("image", None)
    if not isinstance(image, str):
        raise BadRequest("image: it must be the picture's bytes in base64, as a string")
    try:
        # Many encoders break lines; anything else that is not base64 is refused.
        return base64.b64decode(image.translate(_LINE_BREAKS), validate=True), document
    except (binascii.Error, ValueError):
        raise BadRequest("image: it is not base64") from None


def _known(found: Mapping[str, object], allowed: tuple[str, ...]) -> None:
    unknown = next((name for name in found if name not in allowed), None)
    if unknown is not None:
        raise BadRequest(f"{unknown[:64]!r}: no such field; there are {', '.join(('image', *NAMES))}")


def _text(name: str, value: object) -> str | None:
    if value is None or value == "":
        return None
    if not isinstance(value, str) or len(value) > 128:
        raise BadRequest(f"{name}: it must be a string of at most 128 characters")
    return value


def _version(value: object) -> str | None:
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    return _text("version", value)


def _threshold(value: object) -> float | None:
    if value is None or value == "":
        return None
    number = _number(value)
    if number is None or not 0.0 <= number <= 1.0:
        raise BadRequest(f"threshold: {str(value)[:40]!r} is not a number from 0 to 1")
    return number


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _max_detections(value: object) -> int:
    if value is None or value == "":
        return 100
    number = _number(value)
    if number is None or number != int(number) or not 1 <= number <= 1000:
        raise BadRequest(f"max_detections: {str(value)[:40]!r} is not a whole number from 1 to 1000")
    return int(number)
