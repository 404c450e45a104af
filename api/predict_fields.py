"""The fields of a predict request, wherever they stand: query, form or JSON."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import orjson

from api import base64_text
from api.errors import UnsupportedMediaType
from api.http import multipart
from hotswap.errors import PICTURE_FORMATS, BadPicture, BadRequest

NAMES = ("model", "version", "threshold", "max_detections")
_FORM, _JSON, _BYTES = "multipart/form-data", "application/json", "application/octet-stream"
_ACCEPTED = f"{_FORM}, image/*, {_BYTES}, {_JSON}"
#: What programs say that were told nothing, curl among them: then the bytes tell what they are.
_URLENCODED = "application/x-www-form-urlencoded"
_UNTOLD = ("", _URLENCODED)
_HOW = "send a form (curl -F image=@x.jpg), or the file alone (curl --data-binary @x.jpg)"
#: Bytes that are looked at to tell text from a picture.
_LOOKED_AT = 1024
#: What curl -d leaves out of a file, and how long one is that surely has some of it.
_LOST, _SURELY_BROKEN = (b"\n", b"\r", b"\0"), 4096
#: Bytes of text that are read without a thread.
_QUICK = 524_288
_MOST_NAMED = 4


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
        raise BadRequest(f"{field}: it is empty or missing; send the bytes of a {PICTURE_FORMATS}")
    return PredictFields(
        image=image,
        model=_text("model", values.get("model")),
        version=_version(values.get("version")),
        threshold=_threshold(values.get("threshold")),
        max_detections=_max_detections(values.get("max_detections")),
    )


def is_long(content_type: str, body: bytes) -> bool:
    """Whether `parse` takes so long that others would notice: base64 does, a picture's bytes do not."""
    if len(body) <= _QUICK:
        return False
    middle = len(body) // 2
    return _kind(content_type) == _JSON or _is_text(body[middle : middle + _LOOKED_AT])


def _kind(content_type: str) -> str:
    return content_type.partition(";")[0].strip().lower()


def _of_body(content_type: str, body: bytes) -> tuple[bytes, dict[str, object]]:
    told = _kind(content_type)
    kind = _by_its_bytes(told, body) if told in _UNTOLD else told
    if kind == _FORM:
        return _of_form(multipart.parse(body, content_type))
    if kind == _JSON:
        return _of_json(body)
    if kind.startswith("image/") or kind == _BYTES:
        return body, {}
    raise UnsupportedMediaType(f"Content-Type {told or '(none)'!r}: accepted are {_ACCEPTED}; {_HOW}")


def _by_its_bytes(told: str, body: bytes) -> str:
    """What kind of body it is whose sender was told nothing; `told` where that cannot be seen."""
    if _is_text(body[:_LOOKED_AT]):
        return _JSON if body.lstrip()[:1] == b"{" else told
    if told == _URLENCODED and len(body) > _SURELY_BROKEN and not any(each in body for each in _LOST):
        raise BadRequest("the picture has lost bytes, as curl -d leaves some out: use curl --data-binary")
    return _BYTES


def _is_text(data: bytes) -> bool:
    """Whether it can be text: every picture has other bytes near its front."""
    return data.isascii() and b"\0" not in data


def _of_form(parts: list[multipart.Part]) -> tuple[bytes, dict[str, object]]:
    _check_names(parts)
    values: dict[str, object] = {part.name: _form_value(part) for part in parts if part.name != "image"}
    image = next((part for part in parts if part.name == "image"), None)
    if image is None:
        raise BadRequest(f"image: the form has no such field, found {_named(parts)}; {_HOW}")
    if not image.data:
        raise BadRequest(f"image: it is empty ({_named([image])}), or no file was chosen; {_HOW}")
    return _form_picture(image.data), values


def _check_names(parts: list[multipart.Part]) -> None:
    """Raise `BadRequest` unless each field is known, and there once."""
    unknown = [part for part in parts if part.name not in ("image", *NAMES)]
    if files := [part for part in unknown if part.filename is not None or not _is_text(part.data)]:
        raise BadRequest(
            f"{_named(files)}: no such field; the picture's is called image, beside it there are "
            f"{', '.join(NAMES)}; {_HOW}"
        )
    _known([part.name for part in unknown], NAMES)
    names = [part.name for part in parts]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise BadRequest(f"{twice}: it is there twice; send one, and one request for each picture")


def _named(parts: list[multipart.Part]) -> str:
    """The fields of a form for people: names, and those of files."""
    named = [
        f"{part.name[:64]!r}" + ("" if part.filename is None else f" (file {part.filename[:64]!r})")
        for part in parts
    ]
    more = f" and {len(named) - _MOST_NAMED} more" if len(named) > _MOST_NAMED else ""
    return ", ".join(named[:_MOST_NAMED]) + more or "none"


def _form_picture(data: bytes) -> bytes:
    """The picture of a form; some write base64 into it."""
    if not _is_text(data):
        return data
    try:
        return base64_text.decoded(data, "image: it")
    except BadRequest as error:
        raise BadPicture(f"{error.message}; better {_HOW}") from None


def _form_value(part: multipart.Part) -> object:
    """A form value; BentoML's generated client sends it as JSON, with its quotes."""
    try:
        text = part.data.decode()
    except UnicodeDecodeError:
        raise BadRequest(f"{part.name}: it is not UTF-8 text; the picture's field is called image") from None
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
    return base64_text.decoded(image, "image: it"), document


def _known(found: Iterable[str], allowed: tuple[str, ...]) -> None:
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
