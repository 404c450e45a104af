"""Request and response of the Open Inference Protocol as plain data, for both wires."""

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
#: The protocol's datatype → the numpy dtype, little-endian. numpy lacks BF16, which is kept as raw bits.
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
_DATATYPE_OF = {dtype: datatype for datatype, dtype in DTYPES.items()}
DATATYPES = (*DTYPES, BF16, BYTES)
#: Limits of a request: inputs or outputs, parameters of each, characters of its id.
MOST_TENSORS, MOST_PARAMETERS, MOST_ID = 256, 256, 1024
SHARED_MEMORY = "shared memory is not supported; send tensor data in the request"
#: Parameters that are refused, since ignoring them would change the meaning of the answer.
_UNSUPPORTED: Mapping[str, str] = {
    **dict.fromkeys(
        ("shared_memory_region", "shared_memory_byte_size", "shared_memory_offset"), SHARED_MEMORY
    ),
    "classification": "the classification extension is not supported; read scores and labels of the outputs",
}
MOST_AXES, MOST_NAME, _MOST_ELEMENTS = 32, 256, 2**40
#: Most elements of a binary BYTES tensor: each becomes an object, and no request has so many pictures.
MOST_BYTES = 1024


@dataclass(frozen=True, slots=True)
class Tensor:
    """A named tensor of a request or an answer.

    `text`: BYTES elements were sent as JSON strings, which hold pictures in base64.
    """

    name: str
    datatype: str
    shape: tuple[int, ...]
    data: Data
    text: bool = False

    @classmethod
    def of(cls, name: str, array: NDArray[Any]) -> Tensor:
        """An array as a tensor; strings become BYTES in UTF-8."""
        datatype = _DATATYPE_OF.get(array.dtype)
        if datatype is not None:
            return cls(name, datatype, array.shape, array)
        elements = [item if isinstance(item, bytes) else str(item).encode() for item in array.ravel()]
        return cls(name, BYTES, array.shape, elements)


@dataclass(frozen=True, slots=True, kw_only=True)
class InferRequest:
    """An infer request with decoded tensors.

    `version` is `v1` or `1`, None for the serving version; `id` is the caller's. `outputs` names the
    requested outputs, empty for all. `request_id` is the id in the log, `deadline` a `time.monotonic()`
    value, `received` a `time.perf_counter()` value. Requests with the same `key` get the same version.
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
    key: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class InferResponse:
    """The answer: model, version, and the tensors in the requested order, by default the model's."""

    model: str
    version: str
    id: str | None
    parameters: Parameters
    outputs: tuple[Tensor, ...]


def count(name: str, shape: Sequence[object]) -> int:
    """The number of elements of a shape. Raises `BadRequest` for an invalid shape."""
    sides = [side for side in shape if isinstance(side, int) and not isinstance(side, bool) and side >= 0]
    # The sides of an empty tensor are limited too, as numpy multiplies them.
    big = math.prod(max(1, side) for side in sides[:MOST_AXES]) > _MOST_ELEMENTS
    if len(sides) != len(shape) or len(sides) > MOST_AXES or big:
        raise BadRequest(
            f"{name}: shape: must be at most {MOST_AXES} whole numbers of 0 or more, for at most "
            f"{_MOST_ELEMENTS} elements; found {shown(shape)}"
        )
    return math.prod(sides)


def check_datatype(name: str, datatype: object) -> str:
    """The datatype, if the protocol has it. Raises `BadRequest` listing the datatypes."""
    if not isinstance(datatype, str) or datatype not in DATATYPES:
        raise BadRequest(f"{name}: datatype: allowed are {', '.join(DATATYPES)}; found {shown(datatype)}")
    return datatype


def check_names(kind: str, names: Sequence[str]) -> None:
    """Raise `BadRequest` unless the names are unique and of allowed length."""
    for name in names:
        if not name or len(name) > MOST_NAME:
            raise BadRequest(f"{kind}: a name has 1 to {MOST_NAME} characters, found {len(name)}")
    if len(set(names)) < len(names):
        twice, _ = Counter(names).most_common(1)[0]
        raise BadRequest(f"{kind}: duplicate name {twice[:64]!r}; send it once")


def check_parameter(where: str, name: str, value: object) -> None:
    """Raise `BadRequest` for an invalid value and for an unsupported parameter."""
    if not isinstance(value, bool | int | float | str):
        text = "; send a list as its JSON text" if isinstance(value, list) else ""
        raise BadRequest(f"{where}: {name[:64]!r}: must be a string, a number or a boolean{text}")
    if name in _UNSUPPORTED:
        raise BadRequest(f"{where}: {name}: {_UNSUPPORTED[name]}")


def shown(value: object) -> str:
    """A caller's value for an error message: on one line, and short."""
    listed = list(value[:8]) if isinstance(value, Sequence) and not isinstance(value, str | bytes) else value
    return plain(repr(listed)[:100], 80)
