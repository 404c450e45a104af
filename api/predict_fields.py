"""The fields of a predict request: from the query, a form or JSON."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import orjson

from api import base64_text
from api import options as predict_options
from api.errors import UnsupportedMediaType
from api.http import multipart
from hotswap.errors import PICTURE_FORMATS, BadPicture, BadRequest
from hotswap.predictions import Options

NAMES = ("model", "version", *predict_options.NAMES)
_FORM, _JSON, _BYTES = "multipart/form-data", "application/json", "application/octet-stream"
_ACCEPTED = f"{_FORM}, image/*, {_BYTES}, {_JSON}"
#: The Content-Type that curl and others send by default: the body's bytes decide then.
_URLENCODED = "application/x-www-form-urlencoded"
_UNSPECIFIC = ("", _URLENCODED)
_HOW = "send a form (curl -F image=@x.jpg), or the file alone (curl --data-binary @x.jpg)"
#: Bytes that distinguish text from a picture.
_SAMPLE = 1024
#: Bytes that curl -d strips from a file; a picture of this length contains some of them.
_STRIPPED, _SURELY_STRIPPED = (b"\n", b"\r", b"\0"), 4096
#: Bytes of text that are parsed without a thread.
_QUICK = 524_288
_MOST_NAMED = 4


@dataclass(frozen=True, slots=True)
class PredictFields:
    """The checked fields of a predict request."""

    image: bytes
    model: str | None = None
    version: str | None = None
    options: Options = field(default_factory=Options)
    mask_format: predict_options.MaskFormat = "rle"


def parse(content_type: str, query: Mapping[str, str], body: bytes) -> PredictFields:
    """Parse a request. Raises `BadRequest` naming the field, or `UnsupportedMediaType`."""
    image, values = _of_body(content_type, body)
    _check_known(query, NAMES)
    if query and values:  # values of the body override the query's, which must be valid nevertheless
        checked(image, query)
    return checked(image, {**query, **values})


def checked(image: bytes, values: Mapping[str, object], *, field: str = "image") -> PredictFields:
    """Check values by the rules of every wire. Raises `BadRequest` naming the field.

    `field` is the wire's name of the picture.
    """
    if not image:
        raise BadRequest(f"{field}: empty or missing; send the bytes of a {PICTURE_FORMATS}")
    return PredictFields(
        image=image,
        model=_text("model", values.get("model")),
        version=_version(values.get("version")),
        options=predict_options.options(values),
        mask_format=predict_options.mask_format(values),
    )


def is_long(content_type: str, body: bytes) -> bool:
    """Whether `parse` would block the event loop for long: base64 does, a picture's bytes do not."""
    if len(body) <= _QUICK:
        return False
    middle = len(body) // 2
    return _kind(content_type) == _JSON or _is_text(body[middle : middle + _SAMPLE])


def _kind(content_type: str) -> str:
    return content_type.partition(";")[0].strip().lower()


def _of_body(content_type: str, body: bytes) -> tuple[bytes, dict[str, object]]:
    declared = _kind(content_type)
    kind = _kind_by_content(declared, body) if declared in _UNSPECIFIC else declared
    if kind == _FORM:
        return _of_form(multipart.parse(body, content_type))
    if kind == _JSON:
        return _of_json(body)
    if kind.startswith("image/") or kind == _BYTES:
        return body, {}
    raise UnsupportedMediaType(f"Content-Type {declared or '(none)'!r}: accepted are {_ACCEPTED}; {_HOW}")


def _kind_by_content(declared: str, body: bytes) -> str:
    """The media type by the body's bytes; `declared` if they do not show it."""
    if _is_text(body[:_SAMPLE]):
        return _JSON if body.lstrip()[:1] == b"{" else declared
    stripped = len(body) > _SURELY_STRIPPED and not any(byte in body for byte in _STRIPPED)
    if declared == _URLENCODED and stripped:
        raise BadRequest("the picture has lost bytes: curl -d strips some; use curl --data-binary")
    return _BYTES


def _is_text(data: bytes) -> bool:
    """Whether the data may be text: every picture has other bytes near its start."""
    return data.isascii() and b"\0" not in data


def _of_form(parts: list[multipart.Part]) -> tuple[bytes, dict[str, object]]:
    _check_names(parts)
    values: dict[str, object] = {part.name: _form_value(part) for part in parts if part.name != "image"}
    image = next((part for part in parts if part.name == "image"), None)
    if image is None:
        raise BadRequest(f"image: missing in the form, found {_named(parts)}; {_HOW}")
    if not image.data:
        raise BadRequest(f"image: empty ({_named([image])}), or no file was chosen; {_HOW}")
    return _form_picture(image.data), values


def _check_names(parts: list[multipart.Part]) -> None:
    """Raise `BadRequest` for an unknown or a duplicate field."""
    unknown = [part for part in parts if part.name not in ("image", *NAMES)]
    if files := [part for part in unknown if part.filename is not None or not _is_text(part.data)]:
        raise BadRequest(
            f"unknown field {_named(files)}: the picture's field is image, the others are "
            f"{', '.join(NAMES)}; {_HOW}"
        )
    _check_known([part.name for part in unknown], NAMES)
    names = [part.name for part in parts]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise BadRequest(f"duplicate field: {twice}; send it once, and one request per picture")


def _named(parts: list[multipart.Part]) -> str:
    """The names of form fields, with their file names."""
    named = [
        f"{part.name[:64]!r}" + ("" if part.filename is None else f" (file {part.filename[:64]!r})")
        for part in parts
    ]
    more = f" and {len(named) - _MOST_NAMED} more" if len(named) > _MOST_NAMED else ""
    return ", ".join(named[:_MOST_NAMED]) + more or "none"


def _form_picture(data: bytes) -> bytes:
    """The picture of a form; some clients send it as base64."""
    if not _is_text(data):
        return data
    try:
        return base64_text.decoded(data, "image")
    except BadRequest as error:
        raise BadPicture(f"{error.message}; better {_HOW}") from None


def _form_value(part: multipart.Part) -> object:
    """The value of a form field; BentoML's generated client sends it as JSON, with quotes."""
    try:
        text = part.data.decode()
    except UnicodeDecodeError:
        raise BadRequest(f"{part.name}: not UTF-8 text; the picture's field is image") from None
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
    _check_known(document, ("image", *NAMES))
    image = document.pop("image", None)
    if not isinstance(image, str):
        raise BadRequest("image: must be the picture's bytes in base64, as a string")
    return base64_text.decoded(image, "image"), document


def _check_known(names: Iterable[str], allowed: tuple[str, ...]) -> None:
    unknown = next((name for name in names if name not in allowed), None)
    if unknown is not None:
        raise BadRequest(f"unknown field {unknown[:64]!r}; allowed are {', '.join(('image', *NAMES))}")


def _text(name: str, value: object) -> str | None:
    if value is None or value == "":
        return None
    if not isinstance(value, str) or len(value) > 128:
        raise BadRequest(f"{name}: must be a string of at most 128 characters")
    return value


def _version(value: object) -> str | None:
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    return _text("version", value)
