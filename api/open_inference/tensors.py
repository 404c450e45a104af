"""Tensors as bytes: little-endian, row-major, no padding; the binary form of both wires.

Source: https://github.com/kserve/open-inference-protocol and the binary tensor data extension of Triton.
"""

from __future__ import annotations

import random
import re
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, chain
from operator import mul
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from api.open_inference.types import BF16, BYTES, DTYPES, MOST_BYTES, Data, Tensor, count
from hotswap.errors import BadRequest

_LENGTH = struct.Struct("<I")
_BF16 = np.dtype("<u2")


def tensor(name: str, datatype: str, shape: Sequence[int], raw: bytes | memoryview) -> Tensor:
    """The tensor that lies in `raw`; raise `BadRequest` unless it holds exactly that.

    Arrays may look into `raw` itself; BYTES elements are copies.
    """
    wanted = count(name, shape)
    if datatype == BYTES:
        return Tensor(name, datatype, tuple(shape), elements(name, wanted, raw))
    dtype = _BF16 if datatype == BF16 else DTYPES[datatype]
    if len(raw) != wanted * dtype.itemsize:
        raise BadRequest(
            f"{name}: {datatype} {list(shape)} takes {wanted * dtype.itemsize} bytes, found {len(raw)}"
        )
    if datatype == "BOOL" and np.frombuffer(raw, np.uint8).max(initial=0) > 1:
        raise BadRequest(f"{name}: BOOL is one byte each, 0 or 1")
    array = np.frombuffer(raw, dtype).reshape(tuple(shape))
    # The graph reads from where the bytes lie: an address that is no multiple of their size is not for it.
    return Tensor(name, datatype, tuple(shape), array if array.flags.aligned else array.copy())


def elements(name: str, wanted: int, raw: bytes | memoryview) -> list[bytes]:
    """The BYTES elements in `raw`, each with its length before it; raise `BadRequest` unless it is so.

    There are few, so that whoever answers other requests may call it.
    """
    if wanted > MOST_BYTES:
        raise BadRequest(f"{name}: {BYTES} in binary form has at most {MOST_BYTES} elements, found {wanted}")
    view, at = memoryview(raw), 0
    found: list[bytes] = []
    while at + _LENGTH.size <= len(view) and len(found) < wanted:
        (size,) = _LENGTH.unpack_from(view, at)
        at += _LENGTH.size
        if size > len(view) - at:
            raise BadRequest(f"{name}: element {len(found)} says {size} bytes, {len(view) - at} are left")
        found.append(bytes(view[at : at + size]))
        at += size
    if at != len(view) or len(found) != wanted:
        raise BadRequest(
            f"{name}: the shape says {wanted} elements; the first {at} of {len(view)} bytes hold {len(found)}"
        )
    return found


def packed(data: Data) -> bytes:
    """A tensor's bytes."""
    if isinstance(data, np.ndarray):
        return data.astype(data.dtype.newbyteorder("<"), copy=False).tobytes()
    return b"".join(part for each in data for part in (_LENGTH.pack(len(each)), each))


#: Bytes that are read at once, and of the shortest array that is taken out of a longer text.
PIECE, LONG = 65_536, 4_096
#: Fields `data` that are looked at; a request has fewer inputs. What stands behind is read in one go.
_MOST_FIELDS = 1024
#: Commas and opening brackets in what is left, which is read in one go.
_MOST_VALUES = 100_000
_KEY, _AFTER_KEY = b'"data"', re.compile(rb"\s*:\s*(?=\[)")
_NUMERIC = re.compile(rb"[-+0-9.eE,\[\]\s]*")
_STRUCTURE, _BUT_STRUCTURE = b",[]", b"-+0123456789.eE \t\r\n"


@dataclass(frozen=True, slots=True)
class Long:
    """A long array: its text, in which there are no other characters than numbers and arrays have, and the
    commas and brackets of that.
    """

    text: memoryview
    structure: bytes


def loads(body: bytes, end: int) -> tuple[Any, dict[str, Long]]:
    """The document in `body[:end]`, and its long arrays.

    Where a field `data` held such an array, the document has a string, by which it is found. Raises
    `BadRequest` for what is no JSON.
    """
    rest, long = _taken_out(body, end)
    if len(rest) > PIECE and sum(map(rest.count, (b",", b"[", b"{"))) > _MOST_VALUES:
        raise BadRequest(
            f"the body has more than {_MOST_VALUES} values beside arrays of numbers; send binary tensor data"
        )
    return _loads(rest), long


def _loads(text: bytes) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise BadRequest(f"the body is not JSON: {error}") from None


def _taken_out(body: bytes, end: int) -> tuple[bytes, dict[str, Long]]:
    if end <= PIECE:
        return body[:end], {}
    # Nobody can write a string that he does not know.
    secret = f"{random.getrandbits(128):032x}"
    long: dict[str, Long] = {}
    parts: list[bytes] = []
    done = 0
    for start, found in _arrays(body, end):
        name = f"{secret}:{len(long)}"
        long[name] = found
        parts += [body[done:start], f'"{name}"'.encode()]
        done = start + len(found.text)
    return b"".join((*parts, body[done:end])), long


def _arrays(body: bytes, end: int) -> Iterator[tuple[int, Long]]:
    """The long arrays of numbers that follow a key `data`, and where they begin."""
    at = body.find(_KEY, 0, end)
    for _ in range(_MOST_FIELDS):
        if at < 0:
            return
        start = at + len(_KEY)
        found = _AFTER_KEY.match(body, start, end)
        # A quote that is escaped belongs to a longer name.
        if found is not None and body[at - 1 : at] != b"\\":
            start = found.end()
            array = _array(body, start, end)
            if array is not None:
                yield start, array
                start += len(array.text)
        at = body.find(_KEY, start, end)


def _array(body: bytes, start: int, end: int) -> Long | None:
    """What can be an array of numbers, up to its last bracket; None for a short one."""
    at = _numeric(body, start, min(start + LONG + 1, end))
    if at <= start + LONG:
        return None
    parts, at, size = [], start, LONG
    while at < end:
        size = min(2 * size, PIECE)  # many that are hardly long cost no whole piece each
        upto = min(at + size, end)
        part = body[at:upto].translate(None, _BUT_STRUCTURE)
        if part.translate(None, _STRUCTURE):  # something else begins here; at the latest an object's end
            upto = _numeric(body, at, upto)
            parts.append(body[at:upto].translate(None, _BUT_STRUCTURE))
            break
        parts.append(part)
        at = upto
    stop, structure = body.rfind(b"]", start, upto) + 1, b"".join(parts)
    if stop - start <= LONG:
        return None
    return Long(memoryview(body)[start:stop], structure[: structure.rfind(b"]") + 1])


def _numeric(body: bytes, start: int, end: int) -> int:
    """Behind the last character that an array of numbers can have."""
    found = _NUMERIC.match(body, start, end)
    return start if found is None else found.end()


def check_form(name: str, shape: Sequence[int], wanted: int, structure: bytes) -> None:
    """Raise `BadRequest` unless an array of `wanted` elements is flat, or nested as the shape says."""
    commas = structure.count(b",")
    if commas + 1 != wanted:
        raise BadRequest(f"{name}: {list(shape)} has {wanted} elements, found {commas + 1}")
    flat = b"[%b]" % (b"," * commas)
    # Built only when it is as long as what was sent: a shape may ask for anything.
    arrays = 1 + sum(accumulate(shape[:-1], mul))
    if structure != flat and (len(structure) != commas + 2 * arrays or structure != _nested(shape)):
        raise BadRequest(f"{name}: data: arrays are nested as the shape {list(shape)} says, or not at all")


def _nested(shape: Sequence[int]) -> bytes:
    structure = b""
    for side in reversed(shape):
        structure = b"[%b]" % ((structure + b",") * side)[:-1]
    return structure


def values(text: memoryview) -> Iterator[list[Any]]:
    """The elements of an array, flat, some at a time; raise `BadRequest` for what is no JSON."""
    rest = b""
    for piece in _pieces(text):
        whole, comma, rest = (rest + _flat(bytes(piece))).rpartition(b",")
        if comma:
            yield _loads(b"[%b]" % whole)
    yield _loads(b"[%b]" % rest)


def _flat(piece: bytes) -> bytes:
    """Without brackets; most pieces have none."""
    return piece.translate(None, b"[]") if b"[" in piece or b"]" in piece else piece


def _pieces(text: memoryview) -> Iterator[memoryview]:
    return (text[start : start + PIECE] for start in range(0, len(text), PIECE))


def joined(pieces: Iterator[NDArray[Any]], wanted: int, dtype: np.dtype[Any]) -> NDArray[Any] | None:
    """`wanted` elements one after the other; None when there are more or fewer."""
    found, at = np.empty(wanted, dtype), 0
    for piece in pieces:
        if at + len(piece) > wanted:
            return None
        found[at : at + len(piece)] = piece
        at += len(piece)
    return found if at == wanted else None


#: Elements that are read or written at once: between two pieces other threads go on.
JSON_PIECE = 16_384
#: Python's words for what JSON holds, by the kind of numpy's type.
_TAKES: dict[str, set[type]] = {"b": {bool}, "i": {int}, "u": {int}, "f": {int, float}}
_BINARY = ("FP16", BF16)


def read(name: str, datatype: str, shape: Sequence[int], data: object) -> Tensor:
    """The tensor that `data` tells: an array, or a long one of numbers as text.

    Raises `BadRequest` for what does not fit datatype and shape.
    """
    if datatype in _BINARY:
        raise BadRequest(f"{name}: {datatype} has no form in JSON; send it as binary tensor data")
    if isinstance(data, Long):
        return Tensor(name, datatype, tuple(shape), _long(name, datatype, shape, data))
    flat = _flattened(name, shape, data)
    if datatype == BYTES:
        _check_types(name, datatype, flat, {str})
        return Tensor(name, datatype, tuple(shape), [each.encode() for each in flat], text=True)
    return Tensor(name, datatype, tuple(shape), _numbers(name, datatype, flat).reshape(tuple(shape)))


def _flattened(name: str, shape: Sequence[int], data: object) -> list[Any]:
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
    for start in range(0, len(flat), JSON_PIECE):
        piece = flat[start : start + JSON_PIECE]
        _check_types(name, datatype, piece, _TAKES[dtype.kind])
        found[start : start + JSON_PIECE] = _array_of_numbers(name, datatype, piece, dtype)
    return found


def _of_text(name: str, datatype: str, piece: list[Any]) -> NDArray[Any]:
    """Elements of a text of numbers: nothing else can be there, and any number is one for a float."""
    dtype = DTYPES[datatype]
    if dtype.kind != "f":
        _check_types(name, datatype, piece, _TAKES[dtype.kind])
    return _array_of_numbers(name, datatype, piece, dtype)


def _long(name: str, datatype: str, shape: Sequence[int], long: Long) -> NDArray[Any]:
    if datatype == BYTES:
        raise BadRequest(f"{name}: data: {datatype} takes string; found number")
    wanted, dtype = count(name, shape), DTYPES[datatype]
    check_form(name, shape, wanted, long.structure)
    pieces = (_of_text(name, datatype, piece) for piece in values(long.text))
    found = joined(pieces, wanted, dtype)
    if found is None:
        raise BadRequest(f"{name}: the array's commas and brackets do not stand between numbers")
    return found.reshape(tuple(shape))


def _array_of_numbers(name: str, datatype: str, piece: list[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
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
    return b"[%b]" % b",".join(_pieces_of(np.ascontiguousarray(data).reshape(-1)))


def _pieces_of(flat: NDArray[Any]) -> Iterator[bytes]:
    for start in range(0, len(flat), JSON_PIECE):
        yield orjson.dumps(flat[start : start + JSON_PIECE], option=orjson.OPT_SERIALIZE_NUMPY)[1:-1]


def _text(name: str, element: bytes) -> str:
    try:
        return element.decode()
    except UnicodeDecodeError:
        raise BadRequest(
            f"output {name}: an element is not text in UTF-8; ask for it as binary tensor data"
        ) from None
