"""Long arrays of numbers in JSON, read piece by piece.

A JSON parser reads a body in one go and lets no other thread run meanwhile; of ten megabytes of nested
arrays it makes millions of objects, which takes more than a second. So they are taken out of the text first.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from operator import mul
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from hotswap.errors import BadRequest

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
