"""Long arrays of numbers in JSON, read piece by piece.

A JSON parser reads a body in one go and lets no other thread run meanwhile; of ten megabytes of nested
arrays it makes millions of objects, which takes more than a second. So they are taken out of the text first.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Sequence
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
_BUT_STRUCTURE = b"-+0123456789.eE \t\r\n"


def loads(body: bytes, end: int) -> tuple[Any, dict[str, memoryview]]:
    """The document in `body[:end]`, and the texts of its long arrays.

    Where a field `data` held such an array, the document has a string, by which its text is found.
    Raises `BadRequest` for what is no JSON.
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


def _taken_out(body: bytes, end: int) -> tuple[bytes, dict[str, memoryview]]:
    if end <= PIECE:
        return body[:end], {}
    # Nobody can write a string that he does not know.
    secret = f"{random.getrandbits(128):032x}"
    long: dict[str, memoryview] = {}
    parts: list[bytes] = []
    done = 0
    for start, stop in _arrays(body, end):
        name = f"{secret}:{len(long)}"
        long[name] = memoryview(body)[start:stop]
        parts += [body[done:start], f'"{name}"'.encode()]
        done = stop
    return b"".join((*parts, body[done:end])), long


def _arrays(body: bytes, end: int) -> Iterator[tuple[int, int]]:
    """Where the long arrays of numbers lie that follow a key `data`."""
    at = body.find(_KEY, 0, end)
    for _ in range(_MOST_FIELDS):
        if at < 0:
            return
        start = at + len(_KEY)
        found = _AFTER_KEY.match(body, start, end)
        # A quote that is escaped belongs to a longer name.
        if found is not None and body[at - 1 : at] != b"\\":
            start = found.end()
            stop = _stop(body, start, end)
            if stop - start > LONG:
                yield start, stop
                start = stop
        at = body.find(_KEY, start, end)


def _stop(body: bytes, start: int, end: int) -> int:
    """Behind the last bracket of what can be an array of numbers; an object's end follows it somewhere."""
    at = start
    while at < end:
        upto = min(at + PIECE, end)
        found = _NUMERIC.match(body, at, upto)
        at = found.end() if found is not None else at
        if at < upto:
            break
    return body.rfind(b"]", start, at) + 1


def check_form(name: str, shape: Sequence[int], wanted: int, text: memoryview) -> None:
    """Raise `BadRequest` unless an array of `wanted` elements is flat, or nested as the shape says."""
    structure = b"".join(bytes(piece).translate(None, _BUT_STRUCTURE) for piece in _pieces(text))
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
        whole, comma, rest = (rest + bytes(piece).translate(None, b"[]")).rpartition(b",")
        if comma:
            yield _loads(b"[%b]" % whole)
    yield _loads(b"[%b]" % rest)


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
