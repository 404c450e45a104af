"""Tensors in binary form (little-endian, row-major, no padding), for both wires, and in JSON.

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
    """Decode a tensor from `raw`. Raises `BadRequest` unless `raw` holds exactly this tensor.

    Arrays may be views of `raw`; BYTES elements are copies.
    """
    expected = count(name, shape)
    if datatype == BYTES:
        return Tensor(name, datatype, tuple(shape), elements(name, expected, raw))
    dtype = _BF16 if datatype == BF16 else DTYPES[datatype]
    if len(raw) != expected * dtype.itemsize:
        raise BadRequest(
            f"{name}: {datatype} {list(shape)} takes {expected * dtype.itemsize} bytes, found {len(raw)}"
        )
    if datatype == "BOOL" and np.frombuffer(raw, np.uint8).max(initial=0) > 1:
        raise BadRequest(f"{name}: each BOOL must be one byte, 0 or 1")
    array = np.frombuffer(raw, dtype).reshape(tuple(shape))
    # onnxruntime reads in place and needs an aligned address.
    return Tensor(name, datatype, tuple(shape), array if array.flags.aligned else array.copy())


def elements(name: str, expected: int, raw: bytes | memoryview) -> list[bytes]:
    """The BYTES elements in `raw`, each preceded by its length. Raises `BadRequest` for another form.

    Their number is limited, so the event loop may call it.
    """
    if expected > MOST_BYTES:
        raise BadRequest(
            f"{name}: {BYTES} in binary form has at most {MOST_BYTES} elements, found {expected}"
        )
    view, at = memoryview(raw), 0
    items: list[bytes] = []
    while at + _LENGTH.size <= len(view) and len(items) < expected:
        (size,) = _LENGTH.unpack_from(view, at)
        at += _LENGTH.size
        if size > len(view) - at:
            raise BadRequest(f"{name}: element {len(items)} has {size} bytes, but {len(view) - at} are left")
        items.append(bytes(view[at : at + size]))
        at += size
    if at != len(view) or len(items) != expected:
        raise BadRequest(
            f"{name}: expected {expected} elements in {len(view)} bytes, found {len(items)} in the first {at}"
        )
    return items


def packed(data: Data) -> bytes:
    """A tensor in binary form."""
    if isinstance(data, np.ndarray):
        return data.astype(data.dtype.newbyteorder("<"), copy=False).tobytes()
    return b"".join(part for item in data for part in (_LENGTH.pack(len(item)), item))


#: Bytes parsed at once, and bytes of the shortest array that is parsed in pieces.
PIECE, LONG = 65_536, 4_096
#: Most fields `data` that are searched for; a request has fewer inputs. The rest is parsed at once.
_MOST_FIELDS = 1024
#: Most commas and opening brackets in the rest of the document, which is parsed at once.
_MOST_VALUES = 100_000
_KEY, _AFTER_KEY = b'"data"', re.compile(rb"\s*:\s*(?=\[)")
_NUMERIC = re.compile(rb"[-+0-9.eE,\[\]\s]*")
#: Every character of a number as 0.
_FORM = bytes.maketrans(b"-+123456789.eE", b"0" * 14)
_STRUCTURE, _BUT_STRUCTURE = b",[]", b"-+0123456789.eE \t\r\n"


@dataclass(frozen=True, slots=True)
class Long:
    """A long array of numbers: its JSON text, and the commas and brackets of it (`structure`)."""

    text: memoryview
    structure: bytes


def loads(body: bytes, end: int) -> tuple[Any, dict[str, Long]]:
    """The document in `body[:end]`, and its long arrays.

    A field `data` with a long array is replaced by a string, the array's key. Raises `BadRequest` for
    invalid JSON.
    """
    rest, long = _extract_long(body, end)
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


def _extract_long(body: bytes, end: int) -> tuple[bytes, dict[str, Long]]:
    if end <= PIECE:
        return body[:end], {}
    # A random prefix, so that no string of the client can be taken for a key.
    secret = f"{random.getrandbits(128):032x}"
    long: dict[str, Long] = {}
    parts: list[bytes] = []
    done = 0
    for start, array in _arrays(body, end):
        key = f"{secret}:{len(long)}"
        long[key] = array
        parts += [body[done:start], f'"{key}"'.encode()]
        done = start + len(array.text)
    return b"".join((*parts, body[done:end])), long


def _arrays(body: bytes, end: int) -> Iterator[tuple[int, Long]]:
    """The start and text of each long array of numbers in a field `data`."""
    at = body.find(_KEY, 0, end)
    for _ in range(_MOST_FIELDS):
        if at < 0:
            return
        start = at + len(_KEY)
        separator = _AFTER_KEY.match(body, start, end)
        # An escaped quote belongs to a longer key.
        if separator is not None and body[at - 1 : at] != b"\\":
            start = separator.end()
            array = _array(body, start, end)
            if array is not None:
                yield start, array
                start += len(array.text)
        at = body.find(_KEY, start, end)


def _array(body: bytes, start: int, end: int) -> Long | None:
    """A candidate for an array of numbers, up to its last bracket; None for a short one."""
    at = _numeric(body, start, min(start + LONG + 1, end))
    if at <= start + LONG:
        return None
    parts, at, size = [], start, LONG
    while at < end:
        size = min(2 * size, PIECE)  # grows, since many arrays are hardly longer than LONG
        upto = min(at + size, end)
        part = body[at:upto].translate(None, _BUT_STRUCTURE)
        if part.translate(None, _STRUCTURE):  # the array ends here, at the latest with its object
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
    """The index after the last character that may belong to an array of numbers."""
    match = _NUMERIC.match(body, start, end)
    return start if match is None else match.end()


def check_form(name: str, shape: Sequence[int], expected: int, structure: bytes) -> None:
    """Raise `BadRequest` unless an array has `expected` elements and is flat, or nested like the shape."""
    commas = structure.count(b",")
    if commas + 1 != expected:
        raise BadRequest(f"{name}: {list(shape)} has {expected} elements, found {commas + 1}")
    flat = b"[%b]" % (b"," * commas)
    # The nested form is built only for a matching length, since the client chooses the shape.
    arrays = 1 + sum(accumulate(shape[:-1], mul))
    if structure != flat and (len(structure) != commas + 2 * arrays or structure != _nested(shape)):
        raise BadRequest(f"{name}: data: must be flat, or nested like the shape {list(shape)}")


def _nested(shape: Sequence[int]) -> bytes:
    structure = b""
    for side in reversed(shape):
        structure = b"[%b]" % ((structure + b",") * side)[:-1]
    return structure


def values(text: memoryview) -> Iterator[list[Any]]:
    """The elements of an array, flat, in pieces. Raises `BadRequest` for invalid JSON."""
    rest, last = b"", b""
    for piece in map(bytes, _pieces(text)):
        last = _last_of_form(last, piece)
        whole, comma, rest = (rest + _flat(piece)).rpartition(b",")
        if comma:
            yield _loads(b"[%b]" % whole)
    yield _loads(b"[%b]" % rest)


def _last_of_form(before: bytes, piece: bytes) -> bytes:
    """The last character of the piece's form; `before` is that of the piece before.

    Raises `BadRequest` for a number before an opening bracket or after a closing one, which would be lost
    with the brackets.
    """
    if before != b"]" and b"[" not in piece and b"]" not in piece:
        return piece.rstrip()[-1:].translate(_FORM) or before
    form = before + piece.translate(_FORM, b" \t\r\n")
    if b"0[" in form or b"]0" in form:
        raise BadRequest("the body is not JSON: a comma is missing between a number and a bracket")
    return form[-1:]


def _flat(piece: bytes) -> bytes:
    """The piece without brackets; most pieces have none."""
    return piece.translate(None, b"[]") if b"[" in piece or b"]" in piece else piece


def _pieces(text: memoryview) -> Iterator[memoryview]:
    return (text[start : start + PIECE] for start in range(0, len(text), PIECE))


def joined(pieces: Iterator[NDArray[Any]], expected: int, dtype: np.dtype[Any]) -> NDArray[Any] | None:
    """The pieces as one array of `expected` elements; None when there are more or fewer."""
    array, at = np.empty(expected, dtype), 0
    for piece in pieces:
        if at + len(piece) > expected:
            return None
        array[at : at + len(piece)] = piece
        at += len(piece)
    return array if at == expected else None


#: Elements parsed or encoded at once; other threads may run between two pieces.
JSON_PIECE = 16_384
#: The kind of a numpy dtype → the Python types of its JSON values.
_JSON_TYPES: dict[str, set[type]] = {"b": {bool}, "i": {int}, "u": {int}, "f": {int, float}}
_BINARY = ("FP16", BF16)


def read(name: str, datatype: str, shape: Sequence[int], data: object) -> Tensor:
    """Decode a tensor from the field `data`: an array, or a `Long`.

    Raises `BadRequest` for data that do not fit datatype and shape.
    """
    if datatype in _BINARY:
        raise BadRequest(f"{name}: JSON cannot represent {datatype}; send binary tensor data")
    if isinstance(data, Long):
        return Tensor(name, datatype, tuple(shape), _long(name, datatype, shape, data))
    flat = _flattened(name, shape, data)
    if datatype == BYTES:
        _check_types(name, datatype, flat, {str})
        return Tensor(name, datatype, tuple(shape), [item.encode() for item in flat], text=True)
    return Tensor(name, datatype, tuple(shape), _numbers(name, datatype, flat).reshape(tuple(shape)))


def _flattened(name: str, shape: Sequence[int], data: object) -> list[Any]:
    if not isinstance(data, list):
        raise BadRequest(f"{name}: data: must be an array")
    expected = count(name, shape)
    if data and isinstance(data[0], list):
        data = _unnested(name, shape, data)
    if len(data) != expected:
        raise BadRequest(f"{name}: {list(shape)} has {expected} elements, found {len(data)}")
    return data


def _unnested(name: str, shape: Sequence[int], data: list[Any]) -> list[Any]:
    """The elements of nested arrays. Raises `BadRequest` unless their lengths are the shape's sides."""
    level, sides = [data], list(shape)
    for axis, side in enumerate(sides):
        if set(map(type, level)) != {list} or set(map(len, level)) != {side}:
            raise BadRequest(f"{name}: data: axis {axis} must have nested arrays of length {side}")
        level = list(chain.from_iterable(level))
    return level


def _numbers(name: str, datatype: str, flat: list[Any]) -> NDArray[Any]:
    dtype = DTYPES[datatype]
    array = np.empty(len(flat), dtype)
    for start in range(0, len(flat), JSON_PIECE):
        piece = flat[start : start + JSON_PIECE]
        _check_types(name, datatype, piece, _JSON_TYPES[dtype.kind])
        array[start : start + JSON_PIECE] = _array_of_numbers(name, datatype, piece, dtype)
    return array


def _of_text(name: str, datatype: str, piece: list[Any]) -> NDArray[Any]:
    """The elements of a piece of a `Long`: they are numbers, so only integer types need a check."""
    dtype = DTYPES[datatype]
    if dtype.kind != "f":
        _check_types(name, datatype, piece, _JSON_TYPES[dtype.kind])
    return _array_of_numbers(name, datatype, piece, dtype)


def _long(name: str, datatype: str, shape: Sequence[int], long: Long) -> NDArray[Any]:
    if datatype == BYTES:
        raise BadRequest(f"{name}: data: {datatype} takes string, found number")
    expected, dtype = count(name, shape), DTYPES[datatype]
    check_form(name, shape, expected, long.structure)
    pieces = (_of_text(name, datatype, piece) for piece in values(long.text))
    array = joined(pieces, expected, dtype)
    if array is None:
        raise BadRequest(f"{name}: data: a number is missing between commas or brackets")
    return array.reshape(tuple(shape))


def _array_of_numbers(name: str, datatype: str, piece: list[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    try:
        with np.errstate(over="ignore"):
            array = np.fromiter(piece, dtype, len(piece))
    except OverflowError:
        raise BadRequest(f"{name}: an element is out of the range of {datatype}") from None
    if dtype.kind == "f" and not np.isfinite(array).all():
        raise BadRequest(f"{name}: an element is out of the range of {datatype}")
    return array


def _check_types(name: str, datatype: str, flat: list[Any], allowed: set[type]) -> None:
    others = set(map(type, flat)) - allowed
    if others:
        found = ", ".join(sorted(_JSON.get(kind, kind.__name__) for kind in others))
        takes = ", ".join(sorted({_JSON[kind] for kind in allowed}))
        raise BadRequest(f"{name}: data: {datatype} takes {takes}, found {found}")


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
    """The flat array in JSON. Raises `BadRequest` for values that JSON cannot represent."""
    if not isinstance(data, np.ndarray):
        return orjson.dumps([_text(name, item) for item in data])
    if data.dtype == np.float16:
        raise BadRequest(f"output {name}: JSON cannot represent FP16; request binary tensor data")
    if data.dtype.kind == "f" and not np.isfinite(data).all():
        raise BadRequest(
            f"output {name}: has NaN or infinity, which JSON cannot represent; request binary tensor data"
        )
    return b"[%b]" % b",".join(_pieces_of(np.ascontiguousarray(data).reshape(-1)))


def _pieces_of(flat: NDArray[Any]) -> Iterator[bytes]:
    for start in range(0, len(flat), JSON_PIECE):
        yield orjson.dumps(flat[start : start + JSON_PIECE], option=orjson.OPT_SERIALIZE_NUMPY)[1:-1]


def _text(name: str, element: bytes) -> str:
    try:
        return element.decode()
    except UnicodeDecodeError:
        raise BadRequest(f"output {name}: an element is not UTF-8 text; request binary tensor data") from None
