"""Fields of a message counted before it is read: what is nothing on the wire takes time and grows when it is.

A map entry of two bytes takes a tenth of a microsecond, in which nobody else is answered, and eighty bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from hotswap.errors import BadRequest

_FIXED = {1: 8, 5: 4}  # bytes of the wire's fixed types
_MORE = 0x80  # the bit of a byte of a number that says that another one follows

#: Which fields of a message have more within that counts, by number: what is within them, or None for packed
#: numbers, of which each byte may be one.
Within = Mapping[int, "Within | None"]
#: Of a message such as an entry of a map, in which everything is a value.
PLAIN: Within = {}


def limited(
    read: Callable[[bytes], Any], most: int, said: str, within: Within = PLAIN
) -> Callable[[bytes], Any]:
    """`read`, which raises `BadRequest` with what is said where `fields` finds more than that."""

    def checked(raw: bytes) -> Any:
        if fields(raw, most, within) > most:
            raise BadRequest(said)
        return read(raw)

    return checked


def fields(raw: bytes, most: int, within: Within = PLAIN) -> int:
    """How many fields a message has, those of what is `within` it too; `most` + 1 for all that is more.

    Bytes that are no message do no harm.
    """
    return min(_count(raw, 0, len(raw), most, within), most + 1)


def _count(raw: bytes, at: int, end: int, most: int, within: Within) -> int:
    found = 0
    while at < end and found <= most:
        found += 1
        tag = raw[at]
        at += 1
        if tag >= _MORE:
            tag, at = _number(raw, at - 1)
        kind = tag & 7
        if kind == 2:
            size, at = (raw[at], at + 1) if at < end and raw[at] < _MORE else _number(raw, at)
            if tag >> 3 in within and size:
                inner = within[tag >> 3]
                stop = min(at + size, end)
                found += size if inner is None else _count(raw, at, stop, most - found, inner)
            at += size
        elif kind == 0:
            _, at = _number(raw, at)
        else:
            at += _FIXED.get(kind, 0)
    return found


def _number(raw: bytes, at: int) -> tuple[int, int]:
    """A number of variable length (at most 10 bytes), and where the next field begins."""
    value = shift = 0
    last = min(at + 10, len(raw))
    while at < last:
        byte = raw[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < _MORE:
            break
        shift += 7
    return value, at
