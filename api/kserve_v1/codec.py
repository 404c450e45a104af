"""A predict request of KServe V1 and TensorFlow Serving: pictures in rows or a column.

Source: https://www.tensorflow.org/tfx/serving/api_rest and the V1 data plane of KServe.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson

from api import base64_text
from api.http import schemas
from api.open_inference import images
from api.open_inference.images import MOST
from api.open_inference.repository import LOADING, READY, UNLOADING, RepositoryEntry
from api.open_inference.types import Tensor
from hotswap.errors import PICTURE_FORMATS, BadRequest, for_image
from hotswap.predictions import Answer, Options, Picture

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
    rows = _request_column(document[COLUMN]) if columnar else document[ROWS]
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
    return images.options(parameters)


def _request_column(found: object) -> object:
    """The pictures of the only input, named or not; one alone is a row."""
    tensor = _of_one_input(found)
    return tensor if isinstance(tensor, list) else [tensor]


def _pictures(field: str, rows: object) -> tuple[Picture, ...]:
    if not isinstance(rows, list) or not 1 <= len(rows) <= MOST:
        count = f", found {len(rows)}" if isinstance(rows, list) else ""
        raise BadRequest(f"{field}: it must be an array of 1 to {MOST} pictures{count}; {_TAKEN}")
    found: list[Picture] = []
    for index, row in enumerate(rows):
        with for_image(index, len(rows)):
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
    data = base64_text.decoded(value, f"{field}: it")
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


#: TensorFlow Serving's words for states of versions; what is not loaded has ended.
_STATES = {READY: "AVAILABLE", LOADING: "LOADING", UNLOADING: "UNLOADING"}
_ENDED = "END"
#: About how many bytes of JSON a detection takes, and a value of a vector.
_DETECTION, _VALUE = 160, 12


def predicted(answer: Answer, *, columnar: bool) -> bytes:
    """The body: an object for each picture, or the outputs of the Open Inference Protocol as a column."""
    found = {"outputs": _column(answer)} if columnar else {"predictions": _rows(answer)}
    named = {**found, "model_name": answer.model, "model_version": answer.version}
    return orjson.dumps(named, option=orjson.OPT_SERIALIZE_NUMPY)


def weight(answer: Answer) -> int:
    """About how many bytes are to be written."""
    detections = sum(len(each.detections) for each in answer.predictions)
    values = sum(each.embedding.size for each in answer.predictions if each.embedding is not None)
    return detections * _DETECTION + values * _VALUE


def _rows(answer: Answer) -> list[dict[str, Any]]:
    return [schemas.picture(each) for each in answer.predictions]


def _column(answer: Answer) -> Any:
    """By name; of a model with one output its value alone, as TensorFlow Serving has it."""
    tensors = images.answer(answer.task, answer.predictions, ())
    found = {each.name: _nested(each) for each in tensors}
    return found if len(found) > 1 else next(iter(found.values()))


def _nested(tensor: Tensor) -> Any:
    if isinstance(tensor.data, np.ndarray):
        return np.ascontiguousarray(tensor.data)
    texts = np.empty(len(tensor.data), object)
    texts[:] = [each.decode() for each in tensor.data]
    return texts.reshape(tensor.shape).tolist()


def model(name: str, *, ready: bool, entries: Sequence[RepositoryEntry]) -> dict[str, Any]:
    """`GET /v1/models/{name}`: KServe's words and TensorFlow Serving's; what answers stands first."""
    versions = [_version(each) for each in sorted(entries, key=lambda each: each.state != READY)]
    return {"name": name, "ready": ready, "model_version_status": versions}


def _version(entry: RepositoryEntry) -> dict[str, Any]:
    state = _STATES.get(entry.state, _ENDED)
    code = "UNAVAILABLE" if state == _ENDED else "OK"
    status = {"error_code": code, "error_message": entry.reason}
    return {"version": entry.version, "state": state, "status": status}
