"""Fields of a message counted before it is read: what is nothing on the wire takes time and grows when it is.

A map entry of two bytes takes a tenth of a microsecond, in which nobody else is answered, and eighty bytes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from api.open_inference.types import MOST_PARAMETERS, MOST_TENSORS
from api.protos import inference_pb2 as messages
from api.protos.modelmora_pb2 import BatchRequest, EmbeddingRequest
from hotswap.errors import BadRequest

_FIXED = {1: 8, 5: 4}  # bytes of the wire's fixed types
_MORE = 0x80  # the bit of a byte of a number that says that another one follows
_NUMBER = re.compile(rb"[\x80-\xff]{0,9}.?", re.DOTALL)

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
            tag, behind = _number(raw, at - 1)
            found += behind - at  # a long tag takes as much time as more fields, and ours are of one byte
            at = behind
        kind = tag & 7
        if kind == 2:
            size, at = (raw[at], at + 1) if at < end and raw[at] < _MORE else _number(raw, at)
            if tag >> 3 in within and size:
                inner = within[tag >> 3]
                stop = min(at + size, end)
                found += size if inner is None else _count(raw, at, stop, most - found, inner)
            at += size
        elif kind == 0:
            at = _behind(raw, at)
        else:
            at += _FIXED.get(kind, 0)
    return found


def _number(raw: bytes, at: int) -> tuple[int, int]:
    """A number of variable length, and where the next field begins.

    Of the at most 10 bytes the first five tell it: tags and sizes have no more bits.
    """
    end = _behind(raw, at)
    bits = int.from_bytes(raw[at:end], "little")
    value = bits & 0x7F | bits >> 1 & 0x7F << 7 | bits >> 2 & 0x7F << 14 | bits >> 3 & 0x7F << 21
    return value | bits >> 4 & 0x7F << 28, end


def _behind(raw: bytes, at: int) -> int:
    """Where the next field begins: ten bytes are walked in one step, not in ten, as all others wait."""
    found = _NUMBER.match(raw, at)
    return at if found is None else found.end()


#: Fields of a message: three lists of tensors, parameters, and what is there once.
_MOST_REQUEST_FIELDS = 3 * MOST_TENSORS + MOST_PARAMETERS + 16
_TOO_MANY = f"inputs, outputs and parameters: the message has more than {_MOST_REQUEST_FIELDS} of them"
#: Fields of an infer request with those of its tensors and parameters; packed elements are not counted.
MOST_WITHIN = 32_768
_TOO_MUCH = (
    f"inputs, outputs and parameters: they have more than {MOST_WITHIN} fields together; send elements "
    "packed, or as raw_input_contents"
)
_PARAMETERS: Within = {2: PLAIN}
_SHAPE, _CONTENTS = None, PLAIN
_INFER: Within = {
    4: _PARAMETERS,
    5: {3: _SHAPE, 4: _PARAMETERS, 5: _CONTENTS},
    6: {2: _PARAMETERS},
}


def reader(method: str) -> Callable[[bytes], Any]:
    """What reads `<method>Request`; raises `BadRequest` for too many fields, `DecodeError` for odd bytes."""
    read = getattr(messages, f"{method}Request").FromString
    if method == "ModelInfer":
        read = limited(read, MOST_WITHIN, _TOO_MUCH, _INFER)
    return limited(read, _MOST_REQUEST_FIELDS, _TOO_MANY)


#: Pictures of one batch.
MOST = 10_000
#: Fields of a picture's request, and of all those of a batch: a picture with a version has seven.
_MOST_FIELDS, _MOST_IN_ALL = 256, 8 * MOST
_OPTIONS = {4: PLAIN}

_bounded = limited(
    BatchRequest.FromString,
    _MOST_IN_ALL,
    f"requests: the pictures of a batch have at most {_MOST_IN_ALL} fields together, options included; send "
    "more batches",
    {1: _OPTIONS},
)
#: Raises `BadRequest` for what is too many, and `DecodeError` for other bytes.
read_one = limited(
    EmbeddingRequest.FromString,
    _MOST_FIELDS,
    f"options: the message has more than {_MOST_FIELDS} fields",
    _OPTIONS,
)


def read(raw: bytes) -> BatchRequest:
    """A batch; raises as `read_one`."""
    batch: BatchRequest = _bounded(raw)
    if len(batch.requests) > MOST:
        raise BadRequest(f"requests: a batch has at most {MOST} pictures; send more batches")
    return batch
