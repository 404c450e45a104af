"""A predict request of KServe V1 and TensorFlow Serving: pictures in rows or a column.

Source: https://www.tensorflow.org/tfx/serving/api_rest and the V1 data plane of KServe.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from api.oip import pictures
from api.oip.pictures import MOST
from hotswap.errors import PICTURE_FORMATS, BadRequest
from hotswap.naming import naming
from hotswap.runner import Options, Picture

ROWS, COLUMN = "instances", "inputs"
_FIELDS = (ROWS, COLUMN, "parameters", "signature_name")
_OPTIONS = ("threshold", "max_detections")
_B64 = "b64"
#: What an instance that has several fields calls its picture.
_PICTURE = ("image", "image_bytes")
_TAKEN = (
    'a picture is taken as base64, such as {"image": {"b64": "…"}}, {"b64": "…"} or "…"; tensors go to POST '
    "/v2/models/{name}/infer"
)
_LINE_BREAKS = {ord(each): None for each in "\r\n"}
#: Commas and opening brackets of a long body: arrays of numbers, which are not read in one go.
_LONG, _MOST_VALUES = 65_536, 10_000


@dataclass(frozen=True, slots=True)
class V1Request:
    """What a body says. `columnar`: it is answered as a column, too."""

    pictures: tuple[Picture, ...]
    options: Options
    columnar: bool

    @property
    def held(self) -> int:
        """Bytes of the pictures, which do not lie in the body itself."""
        return sum(len(each.encoded or b"") for each in self.pictures)


def parse(body: bytes) -> V1Request:
    """Read a body; raise `BadRequest` naming the field, and the picture among several."""
    document = _document(body)
    _known("the request", document, _FIELDS)
    named = document.get("signature_name")
    if named is not None and not isinstance(named, str):
        raise BadRequest("signature_name: it must be a string")
    if (ROWS in document) == (COLUMN in document):
        raise BadRequest(f"send either {ROWS}, an array of pictures, or {COLUMN}")
    columnar = COLUMN in document
    rows = _column(document[COLUMN]) if columnar else document[ROWS]
    return V1Request(
        pictures=_pictures(COLUMN if columnar else ROWS, rows),
        options=_options(document.get("parameters")),
        columnar=columnar,
    )


def _document(body: bytes) -> dict[str, Any]:
    if len(body) > _LONG and sum(map(body.count, (b",", b"[", b"{"))) > _MOST_VALUES:
        raise BadRequest(f"the body has more than {_MOST_VALUES} values; {_TAKEN}")
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise BadRequest(f"the body is not JSON: {error}") from None
    if not isinstance(document, dict):
        raise BadRequest('the body must be an object such as {"instances": [{"b64": "…"}]}')
    return document


def _known(where: str, found: Mapping[str, object], allowed: tuple[str, ...]) -> None:
    for name in found:
        if name not in allowed:
            raise BadRequest(f"{name[:64]!r}: no such field of {where}; there are {', '.join(allowed)}")


def _options(parameters: object) -> Options:
    if parameters is None:
        return Options()
    if not isinstance(parameters, dict):
        raise BadRequest("parameters: it must be an object")
    _known("parameters", parameters, _OPTIONS)
    return pictures.options(parameters)


def _column(found: object) -> object:
    """The pictures of the only input, named or not; one alone is a row."""
    tensor = _of_one_input(found)
    return tensor if isinstance(tensor, list) else [tensor]


def _pictures(field: str, rows: object) -> tuple[Picture, ...]:
    if not isinstance(rows, list) or not 1 <= len(rows) <= MOST:
        count = f", found {len(rows)}" if isinstance(rows, list) else ""
        raise BadRequest(f"{field}: it must be an array of 1 to {MOST} pictures{count}; {_TAKEN}")
    found: list[Picture] = []
    for index, row in enumerate(rows):
        with naming(index, len(rows)):
            found.append(Picture(encoded=_encoded(field, row)))
    return tuple(found)


def _encoded(field: str, row: object) -> bytes:
    value = _of_one_input(row)
    if isinstance(value, list) and len(value) == 1:  # of a model whose input is [N, 1]
        (value,) = value
    if isinstance(value, dict):
        value = _alone(_B64, value) if _B64 in value else None
    if not isinstance(value, str):
        raise BadRequest(f"{field}: {_TAKEN}")
    data = _of_base64(field, value)
    if not data:
        raise BadRequest(f"{field}: it is empty; send the bytes of a {PICTURE_FORMATS}")
    return data


def _of_one_input(found: object) -> object:
    """The value of the only input, whatever its name; what has none is the value itself."""
    if not isinstance(found, dict) or _B64 in found or not found:
        return found
    return _alone(next((each for each in _PICTURE if each in found), next(iter(found))), found)


def _alone(name: str, found: dict[str, object]) -> object:
    """What stands under that name; raise `BadRequest` where there is something beside."""
    for other in found:
        if other != name:
            raise BadRequest(
                f"{other[:64]!r}: an instance has one field, its picture; {' and '.join(_OPTIONS)} stand in "
                "parameters, beside instances"
            )
    return found[name]


def _of_base64(field: str, text: str) -> bytes:
    try:
        return base64.b64decode(text.translate(_LINE_BREAKS), validate=True)
    except (binascii.Error, ValueError):
        raise BadRequest(f"{field}: it is not base64") from None
