"""Answers of KServe V1 and TensorFlow Serving, as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import orjson

from api import answers
from api.oip import pictures
from api.oip.messages import Tensor
from api.oip.repository import LOADING, READY, UNLOADING, Entry
from hotswap.requests import Answer

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
    return [answers.picture(each) for each in answer.predictions]


def _column(answer: Answer) -> Any:
    """By name; of a model with one output its value alone, as TensorFlow Serving has it."""
    tensors = pictures.answer(answer.task, answer.predictions, ())
    found = {each.name: _nested(each) for each in tensors}
    return found if len(found) > 1 else next(iter(found.values()))


def _nested(tensor: Tensor) -> Any:
    if isinstance(tensor.data, np.ndarray):
        return np.ascontiguousarray(tensor.data)
    texts = np.empty(len(tensor.data), object)
    texts[:] = [each.decode() for each in tensor.data]
    return texts.reshape(tensor.shape).tolist()


def model(name: str, *, ready: bool, entries: Sequence[Entry]) -> dict[str, Any]:
    """`GET /v1/models/{name}`: KServe's words and TensorFlow Serving's; what answers stands first."""
    versions = [_version(each) for each in sorted(entries, key=lambda each: each.state != READY)]
    return {"name": name, "ready": ready, "model_version_status": versions}


def _version(entry: Entry) -> dict[str, Any]:
    state = _STATES.get(entry.state, _ENDED)
    code = "UNAVAILABLE" if state == _ENDED else "OK"
    status = {"error_code": code, "error_message": entry.reason}
    return {"version": entry.version, "state": state, "status": status}
