"""Fields of a message counted before it is read, because a message of nothings grows by forty when it is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hotswap.errors import BadRequest

_FIXED = {1: 8, 5: 4}  # bytes of the wire's fixed types


def limited(read: Callable[[bytes], Any], most: int, said: str) -> Callable[[bytes], Any]:
    """`read`, which raises `BadRequest` with what is said where a message has more fields than that."""

    def checked(raw: bytes) -> Any:
        if fields(raw, most) > most:
            raise BadRequest(said)
        return read(raw)

    return checked


def fields(raw: bytes, most: int) -> int:
    """How many fields a message has on its first level, counted no further than `most` + 1."""
    at = found = 0
    while at < len(raw) and found <= most:
        tag, at = _number(raw, at)
        kind = tag & 7
        if kind == 0:
            _, at = _number(raw, at)
        elif kind == 2:
            size, at = _number(raw, at)
            at += size
        else:
            at += _FIXED.get(kind, 0)
        found += 1
    return found


def _number(raw: bytes, at: int) -> tuple[int, int]:
    """A number of variable length (at most 10 bytes), and where the next field begins."""
    value = 0
    for place, byte in enumerate(raw[at : at + 10]):
        value |= (byte & 0x7F) << (7 * place)
        if byte < 0x80:
            return value, at + place + 1
    return value, at + 10
