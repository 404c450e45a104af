"""Predict requests and responses of KServe V1 and TensorFlow Serving: pictures in rows or a column.

Source: https://www.tensorflow.org/tfx/serving/api_rest and the V1 data plane of KServe.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson

from api import base64_text
from api import options as predict_options
from api.http import schemas
from api.open_inference import images
from api.open_inference.images import MOST
from api.open_inference.repository import LOADING, READY, UNLOADING, RepositoryEntry
from api.open_inference.types import Tensor
from hotswap.errors import PICTURE_FORMATS, BadRequest, for_image
from hotswap.predictions import Answer, Options, Picture

ROWS, COLUMN = "instances", "inputs"
_FIELDS = (ROWS, COLUMN, "parameters", "signature_name")
_B64 = "b64"
#: Names of the picture in an instance with several fields.
_PICTURE = ("image", "image_bytes")
_HINT = (
    'send a picture as base64, such as {"image": {"b64": "…"}}, {"b64": "…"} or "…"; send tensors to POST '
    "/v2/models/{name}/infer"
)
#: Bytes of a long body, and its most commas and opening brackets: arrays of numbers are refused.
_LONG, _MOST_VALUES = 65_536, 10_000


@dataclass(frozen=True, slots=True)
class V1Request:
    """A parsed body. `columnar`: the answer is a column too."""

    pictures: tuple[Picture, ...]
    options: Options
    mask_format: predict_options.MaskFormat
    columnar: bool

    @property
    def held(self) -> int:
        """Bytes of the pictures, which do not lie in the body itself."""
        return sum(len(each.encoded or b"") for each in self.pictures)


def parse(body: bytes) -> V1Request:
    """Parse a body. Raises `BadRequest` naming the field, and the picture among several."""
    document = _document(body)
    _check_known("the request", document, _FIELDS)
    named = document.get("signature_name")
    if named is not None and not isinstance(named, str):
        raise BadRequest("signature_name: must be a string")
    if (ROWS in document) == (COLUMN in document):
        raise BadRequest(f"send either {ROWS}, an array of pictures, or {COLUMN}")
    columnar = COLUMN in document
    rows = _request_column(document[COLUMN]) if columnar else document[ROWS]
    parameters = _parameters(document.get("parameters"))
    return V1Request(
        pictures=_pictures(COLUMN if columnar else ROWS, rows),
        options=predict_options.options(parameters),
        mask_format=predict_options.mask_format(parameters),
        columnar=columnar,
    )


def _document(body: bytes) -> dict[str, Any]:
    if len(body) > _LONG and sum(map(body.count, (b",", b"[", b"{"))) > _MOST_VALUES:
        raise BadRequest(f"the body has more than {_MOST_VALUES} values; {_HINT}")
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise BadRequest(f"the body is not JSON: {error}") from None
    if not isinstance(document, dict):
        raise BadRequest('the body must be an object such as {"instances": [{"b64": "…"}]}')
    return document


def _check_known(where: str, fields: Mapping[str, object], allowed: tuple[str, ...]) -> None:
    for name in fields:
        if name not in allowed:
            raise BadRequest(f"unknown field {name[:64]!r} of {where}; allowed are {', '.join(allowed)}")


def _parameters(parameters: object) -> dict[str, object]:
    if parameters is None:
        return {}
    if not isinstance(parameters, dict):
        raise BadRequest("parameters: must be an object")
    _check_known("parameters", parameters, predict_options.NAMES)
    return parameters


def _request_column(value: object) -> object:
    """The pictures of the only input, named or not; a single picture becomes a list."""
    tensor = _of_one_input(value)
    return tensor if isinstance(tensor, list) else [tensor]


def _pictures(field: str, rows: object) -> tuple[Picture, ...]:
    if not isinstance(rows, list) or not 1 <= len(rows) <= MOST:
        count = f", found {len(rows)}" if isinstance(rows, list) else ""
        raise BadRequest(f"{field}: must be an array of 1 to {MOST} pictures{count}; {_HINT}")
    pictures: list[Picture] = []
    for index, row in enumerate(rows):
        with for_image(index, len(rows)):
            pictures.append(Picture(encoded=_encoded(field, row)))
    return tuple(pictures)


def _encoded(field: str, row: object) -> bytes:
    value = _of_one_input(row)
    if isinstance(value, list) and len(value) == 1:  # the row of an input [N, 1]
        (value,) = value
    if isinstance(value, dict):
        value = _alone(_B64, value) if _B64 in value else None
    if not isinstance(value, str):
        raise BadRequest(f"{field}: {_HINT}")
    data = base64_text.decoded(value, field)
    if not data:
        raise BadRequest(f"{field}: empty; send the bytes of a {PICTURE_FORMATS}")
    return data


def _of_one_input(value: object) -> object:
    """The value of the only input of any name; a value without a name is returned unchanged."""
    if not isinstance(value, dict) or _B64 in value or not value:
        return value
    return _alone(next((name for name in _PICTURE if name in value), next(iter(value))), value)


def _alone(name: str, fields: dict[str, object]) -> object:
    """The value of the field `name`. Raises `BadRequest` if there is another field."""
    for other in fields:
        if other != name:
            raise BadRequest(
                f"unknown field {other[:64]!r}: an instance has one field, its picture; send "
                f"options such as threshold in parameters, beside instances"
            )
    return fields[name]


#: TensorFlow Serving's names of version states; a version that is not loaded is `END`.
_STATES = {READY: "AVAILABLE", LOADING: "LOADING", UNLOADING: "UNLOADING"}
_ENDED = "END"
#: Approximate bytes of JSON of a detection, and of a value of a vector.
_DETECTION, _VALUE = 160, 12


def predicted(answer: Answer, *, columnar: bool, mask_format: predict_options.MaskFormat = "rle") -> bytes:
    """The body: one object per picture, or the outputs of the Open Inference Protocol as a column."""
    content = {"outputs": _column(answer)} if columnar else {"predictions": _rows(answer, mask_format)}
    document = {**content, "model_name": answer.model, "model_version": answer.version}
    if answer.detector is not None:
        document |= {"detector_name": answer.detector.model, "detector_version": answer.detector.version}
    return orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY)


def weight(answer: Answer) -> int:
    """The approximate bytes of the body."""
    detections = sum(len(item.detections) for item in answer.predictions)
    values = sum(item.embedding.size for item in answer.predictions if item.embedding is not None)
    values += sum(array.size for item in answer.predictions for array in (item.tensors or {}).values())
    runs = sum(len(each.mask.counts) for item in answer.predictions for each in item.detections if each.mask)
    return detections * _DETECTION + (values + runs) * _VALUE


def _rows(answer: Answer, mask_format: predict_options.MaskFormat) -> list[dict[str, Any]]:
    return [schemas.picture(item, mask_format) for item in answer.predictions]


def _column(answer: Answer) -> Any:
    """The outputs by name; for a model with one output its value alone, as in TensorFlow Serving."""
    tensors = images.answer(answer.task, answer.predictions, ())
    outputs = {tensor.name: _nested(tensor) for tensor in tensors}
    return outputs if len(outputs) > 1 else next(iter(outputs.values()))


def _nested(tensor: Tensor) -> Any:
    if isinstance(tensor.data, np.ndarray):
        return np.ascontiguousarray(tensor.data)
    texts = np.empty(len(tensor.data), object)
    texts[:] = [item.decode() for item in tensor.data]
    return texts.reshape(tensor.shape).tolist()


def model(name: str, *, ready: bool, entries: Sequence[RepositoryEntry]) -> dict[str, Any]:
    """`GET /v1/models/{name}`: the fields of KServe and TensorFlow Serving; the serving version is first."""
    versions = [_version(entry) for entry in sorted(entries, key=lambda entry: entry.state != READY)]
    return {"name": name, "ready": ready, "model_version_status": versions}


def _version(entry: RepositoryEntry) -> dict[str, Any]:
    state = _STATES.get(entry.state, _ENDED)
    code = "UNAVAILABLE" if state == _ENDED else "OK"
    status = {"error_code": code, "error_message": entry.reason}
    return {"version": entry.version, "state": state, "status": status}
