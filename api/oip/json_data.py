"""Tensors in JSON: the field `data`, flat or nested as the shape says, row-major."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from api.oip import big_json
from api.oip.messages import BF16, BYTES, DTYPES, Data, Tensor, count
from hotswap.errors import BadRequest

#: Elements that are read or written at once: between two pieces other threads go on.
PIECE = 16_384
#: Python's words for what JSON holds, by the kind of numpy's type.
_TAKES: dict[str, set[type]] = {"b": {bool}, "i": {int}, "u": {int}, "f": {int, float}}
_BINARY = ("FP16", BF16)


def read(name: str, datatype: str, shape: Sequence[int], data: object) -> Tensor:
    """The tensor that `data` tells: an array, or a long one of numbers as text.

    Raises `BadRequest` for what does not fit datatype and shape.
    """
    if datatype in _BINARY:
        raise BadRequest(f"{name}: {datatype} has no form in JSON; send it as binary tensor data")
    if isinstance(data, big_json.Long):
        return Tensor(name, datatype, tuple(shape), _long(name, datatype, shape, data))
    flat = _flat(name, shape, data)
    if datatype == BYTES:
        _check_types(name, datatype, flat, {str})
        return Tensor(name, datatype, tuple(shape), [each.encode() for each in flat], text=True)
    return Tensor(name, datatype, tuple(shape), _numbers(name, datatype, flat).reshape(tuple(shape)))


def _flat(name: str, shape: Sequence[int], data: object) -> list[Any]:
    if not isinstance(data, list):
        raise BadRequest(f"{name}: data: it must be an array")
    wanted = count(name, shape)
    if data and isinstance(data[0], list):
        data = _unnested(name, shape, data)
    if len(data) != wanted:
        raise BadRequest(f"{name}: {list(shape)} has {wanted} elements, found {len(data)}")
    return data


def _unnested(name: str, shape: Sequence[int], data: list[Any]) -> list[Any]:
    """The elements of nested arrays; at every depth all have the length that the shape says."""
    level, sides = [data], list(shape)
    for axis, side in enumerate(sides):
        if set(map(type, level)) != {list} or set(map(len, level)) != {side}:
            raise BadRequest(f"{name}: data: nested arrays of {side} were expected for axis {axis}")
        level = list(chain.from_iterable(level))
    return level


def _numbers(name: str, datatype: str, flat: list[Any]) -> NDArray[Any]:
    dtype = DTYPES[datatype]
    found = np.empty(len(flat), dtype)
    for start in range(0, len(flat), PIECE):
        piece = flat[start : start + PIECE]
        _check_types(name, datatype, piece, _TAKES[dtype.kind])
        found[start : start + PIECE] = _array(name, datatype, piece, dtype)
    return found


def _of_text(name: str, datatype: str, piece: list[Any]) -> NDArray[Any]:
    """Elements of a text of numbers: nothing else can be there, and any number is one for a float."""
    dtype = DTYPES[datatype]
    if dtype.kind != "f":
        _check_types(name, datatype, piece, _TAKES[dtype.kind])
    return _array(name, datatype, piece, dtype)


def _long(name: str, datatype: str, shape: Sequence[int], long: big_json.Long) -> NDArray[Any]:
    if datatype == BYTES:
        raise BadRequest(f"{name}: data: {datatype} takes string; found number")
    wanted, dtype = count(name, shape), DTYPES[datatype]
    big_json.check_form(name, shape, wanted, long.structure)
    pieces = (_of_text(name, datatype, piece) for piece in big_json.values(long.text))
    found = big_json.joined(pieces, wanted, dtype)
    if found is None:
        raise BadRequest(f"{name}: the array's commas and brackets do not stand between numbers")
    return found.reshape(tuple(shape))


def _array(name: str, datatype: str, piece: list[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    try:
        with np.errstate(over="ignore"):
            array = np.fromiter(piece, dtype, len(piece))
    except OverflowError:
        raise BadRequest(f"{name}: an element is not within the range of {datatype}") from None
    if dtype.kind == "f" and not np.isfinite(array).all():
        raise BadRequest(f"{name}: an element is not within the range of {datatype}")
    return array


def _check_types(name: str, datatype: str, flat: list[Any], allowed: set[type]) -> None:
    others = set(map(type, flat)) - allowed
    if others:
        found = ", ".join(sorted(_JSON.get(each, each.__name__) for each in others))
        takes = ", ".join(sorted({_JSON[each] for each in allowed}))
        raise BadRequest(f"{name}: data: {datatype} takes {takes}; found {found}")


_JSON: dict[type, str] = {
    bool: "boolean",
    int: "whole number",
    float: "number",
    str: "string",
    list: "array",
    dict: "object",
    type(None): "null",
}


def written(name: str, data: Data) -> bytes:
    """The flat array in JSON; raise `BadRequest` for what has no form there."""
    if not isinstance(data, np.ndarray):
        return orjson.dumps([_text(name, each) for each in data])
    if data.dtype == np.float16:
        raise BadRequest(f"output {name}: FP16 has no form in JSON; ask for it as binary tensor data")
    if data.dtype.kind == "f" and not np.isfinite(data).all():
        raise BadRequest(
            f"output {name}: JSON cannot tell NaN and infinity, which it holds; ask for binary tensor data"
        )
    return b"[%b]" % b",".join(_pieces(np.ascontiguousarray(data).reshape(-1)))


def _pieces(flat: NDArray[Any]) -> Iterator[bytes]:
    for start in range(0, len(flat), PIECE):
        yield orjson.dumps(flat[start : start + PIECE], option=orjson.OPT_SERIALIZE_NUMPY)[1:-1]


def _text(name: str, element: bytes) -> str:
    try:
        return element.decode()
    except UnicodeDecodeError:
        raise BadRequest(
            f"output {name}: an element is not text in UTF-8; ask for it as binary tensor data"
        ) from None
