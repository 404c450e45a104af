"""One request of the Open Inference Protocol and its answer, as plain data for both wires."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from common.text import plain
from hotswap.errors import BadRequest

Parameter = bool | int | float | str
Parameters = Mapping[str, Parameter]
#: Elements of datatype BYTES in row-major order, or an array of the tensor's shape.
Data = NDArray[Any] | Sequence[bytes]

BYTES = "BYTES"
BF16 = "BF16"
#: The protocol's word → how its elements lie in memory, little-endian. BF16 is told by its bits alone.
DTYPES: Mapping[str, np.dtype[Any]] = {
    "BOOL": np.dtype("?"),
    "UINT8": np.dtype("u1"),
    "UINT16": np.dtype("<u2"),
    "UINT32": np.dtype("<u4"),
    "UINT64": np.dtype("<u8"),
    "INT8": np.dtype("i1"),
    "INT16": np.dtype("<i2"),
    "INT32": np.dtype("<i4"),
    "INT64": np.dtype("<i8"),
    "FP16": np.dtype("<f2"),
    "FP32": np.dtype("<f4"),
    "FP64": np.dtype("<f8"),
}
_WORDS = {dtype: word for word, dtype in DTYPES.items()}
DATATYPES = (*DTYPES, BF16, BYTES)
#: What one request may have: inputs or outputs, parameters of each, characters of its id.
MOST_TENSORS, MOST_PARAMETERS, MOST_ID = 256, 256, 1024
SHARED_MEMORY = "shared memory is not supported; send tensor data in the request"
#: What clients may ask for and nobody here gives: leaving it out would answer something else.
_NOT_HERE: Mapping[str, str] = {
    **dict.fromkeys(
        ("shared_memory_region", "shared_memory_byte_size", "shared_memory_offset"), SHARED_MEMORY
    ),
    "classification": "the classification extension is not supported; read scores and labels of the outputs",
}
MOST_AXES, MOST_NAME, _MOST_ELEMENTS = 32, 256, 2**40
#: Elements of one BYTES tensor in binary form: each becomes an object, and no request has so many pictures.
MOST_BYTES = 1024


@dataclass(frozen=True, slots=True)
class Tensor:
    """A named tensor, of a request or an answer.

    `text` says that BYTES elements came as text, which cannot hold the bytes of a picture: it is base64 then.
    """

    name: str
    datatype: str
    shape: tuple[int, ...]
    data: Data
    text: bool = False

    @classmethod
    def of(cls, name: str, array: NDArray[Any]) -> Tensor:
        """An array as a tensor; texts become BYTES in UTF-8."""
        word = _WORDS.get(array.dtype)
        if word is not None:
            return cls(name, word, array.shape, array)
        elements = [each if isinstance(each, bytes) else str(each).encode() for each in array.ravel()]
        return cls(name, BYTES, array.shape, elements)


@dataclass(frozen=True, slots=True, kw_only=True)
class InferRequest:
    """One infer request, its tensors decoded.

    `version` is `v1` or `1`, None for what serves; `id` the caller's, None for none. `outputs` are the
    names to give, none for all. `request_id` is what the log knows it by, `deadline` a moment of
    `time.monotonic()`, `received` one of `time.perf_counter()`.
    """

    model: str
    inputs: tuple[Tensor, ...]
    request_id: str
    deadline: float
    version: str | None = None
    id: str | None = None
    parameters: Parameters = field(default_factory=dict)
    outputs: tuple[str, ...] = ()
    received: float = field(default_factory=time.perf_counter)


@dataclass(frozen=True, slots=True, kw_only=True)
class InferResponse:
    """The answer: who gave it, and the tensors in the order asked for, or the model's own."""

    model: str
    version: str
    id: str | None
    parameters: Parameters
    outputs: tuple[Tensor, ...]


def count(name: str, shape: Sequence[object]) -> int:
    """How many elements a shape holds; raise `BadRequest` for what is no shape."""
    sides = [side for side in shape if isinstance(side, int) and not isinstance(side, bool) and side >= 0]
    # An empty tensor may have big sides, too; numpy counts them all.
    big = math.prod(max(1, side) for side in sides[:MOST_AXES]) > _MOST_ELEMENTS
    if len(sides) != len(shape) or len(sides) > MOST_AXES or big:
        raise BadRequest(
            f"{name}: shape: at most {MOST_AXES} whole numbers, none below 0, for at most {_MOST_ELEMENTS} "
            f"elements; found {shown(shape)}"
        )
    return math.prod(sides)


def check_datatype(name: str, datatype: object) -> str:
    """The datatype if it is a word of the protocol; raise `BadRequest` listing them."""
    if not isinstance(datatype, str) or datatype not in DATATYPES:
        raise BadRequest(f"{name}: datatype: there are {', '.join(DATATYPES)}; found {shown(datatype)}")
    return datatype


def check_names(kind: str, names: Sequence[str]) -> None:
    """Raise `BadRequest` unless every name is there once and is of bearable length."""
    for name in names:
        if not name or len(name) > MOST_NAME:
            raise BadRequest(f"{kind}: a name has 1 to {MOST_NAME} characters, found {len(name)}")
    if len(set(names)) < len(names):
        twice, _ = Counter(names).most_common(1)[0]
        raise BadRequest(f"{kind}: {twice[:64]!r} is there twice; send one")


def check_parameter(where: str, name: str, value: object) -> None:
    """Raise `BadRequest` unless it is a parameter's value, and one that something is done with."""
    if not isinstance(value, bool | int | float | str):
        raise BadRequest(f"{where}: {name[:64]!r}: a parameter is a string, a number or a boolean")
    if name in _NOT_HERE:
        raise BadRequest(f"{where}: {name}: {_NOT_HERE[name]}")


def shown(value: object) -> str:
    """A value of the caller's as an error tells it: on one line, and short."""
    listed = list(value[:8]) if isinstance(value, Sequence) and not isinstance(value, str | bytes) else value
    return plain(repr(listed)[:100], 80)
