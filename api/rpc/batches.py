"""Batches as they come: counted before they are read, because a message of nothings grows by forty."""

from __future__ import annotations

from api.protos.modelmora_pb2 import BatchRequest
from hotswap.errors import BadRequest

#: Pictures of one batch.
MOST = 10_000

_FIXED = {1: 8, 5: 4}  # bytes of the wire's fixed types


def read(raw: bytes) -> BatchRequest:
    """The batch. Raises `BadRequest` for more than `MOST` pictures, `DecodeError` for other bytes."""
    if fields(raw) > MOST:
        raise BadRequest(f"requests: a batch has at most {MOST} pictures; send more batches")
    batch: BatchRequest = BatchRequest.FromString(raw)
    return batch


def fields(raw: bytes) -> int:
    """How many fields a message has on its first level, counted no further than `MOST` + 1."""
    at = found = 0
    while at < len(raw) and found <= MOST:
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
