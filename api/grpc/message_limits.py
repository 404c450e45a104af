"""Fields of a message counted before it is parsed: parsing makes all others wait, and makes fields grow.

A map entry of two bytes takes a tenth of a microsecond and eighty bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from google.protobuf.descriptor import Descriptor
from google.protobuf.message import Message

from api.protos.inference_pb2 import ModelInferRequest
from api.protos.modelmora_pb2 import BatchRequest, EmbeddingRequest
from api.protos.predictor_pb2 import PredictRequest
from hotswap.errors import BadRequest

#: Pictures of one batch; one with a version has seven fields.
MOST_PICTURES = 10_000
#: Fields of one message with those of its messages and maps; packed numbers are one field.
MOST_FIELDS: Mapping[type[Message], int] = {
    ModelInferRequest: 32_768,
    BatchRequest: 8 * MOST_PICTURES,
    EmbeddingRequest: 256,
    PredictRequest: 64,
}
#: Of all other types: some parameters, and what is there once.
MOST_OTHERS = 1_024

#: The fields of a message that are messages, by number, and theirs.
Nested = dict[int, "Nested"]

_FIXED = {1: 8, 5: 4}  # bytes of the wire's fixed types
_LONGEST = 10  # bytes of a number of variable length
_MORE = 0x80  # the bit of such a byte that says that another one follows


def nested(kind: Descriptor) -> Nested:
    """The messages within a message."""
    return {each.number: nested(each.message_type) for each in kind.fields if each.message_type is not None}


def fields(raw: bytes, most: int, messages: Nested) -> int:
    """How many fields a message has; about so many as soon as there are more than `most`.

    Bytes that are no message do no harm.
    """
    return _count(raw, 0, len(raw), most, messages)


def _count(raw: bytes, at: int, end: int, most: int, messages: Nested) -> int:
    found = 0
    while at < end and found <= most:
        begin = at
        tag, at = _number(raw, at)
        found += at - begin  # a longer tag than ours, of one byte, takes the time of more fields
        kind, inner = tag & 7, messages.get(tag >> 3)
        if kind == 2:
            size, at = _number(raw, at)
            if inner is not None:
                found += _count(raw, at, min(at + size, end), most - found, inner)
            at += size
        elif kind == 0:
            _, at = _number(raw, at)
        else:
            at += _FIXED.get(kind, 0)
    return found


def _number(raw: bytes, at: int) -> tuple[int, int]:
    """A number of variable length, and where the next field begins."""
    if at < len(raw) and raw[at] < _MORE:  # most numbers are short, and there are many
        return raw[at], at + 1
    value = 0
    for place, byte in enumerate(raw[at : at + _LONGEST]):
        value |= (byte & 0x7F) << 7 * place
        if byte < _MORE:
            return value, at + place + 1
    return value, at + _LONGEST


def parser(kind: type[Message]) -> Callable[[bytes], Any]:
    """What parses a message; raises `BadRequest` for too many fields, and `DecodeError` for odd bytes."""
    most, messages = MOST_FIELDS.get(kind, MOST_OTHERS), nested(kind.DESCRIPTOR)

    def parse(raw: bytes) -> Any:
        if fields(raw, most, messages) > most:
            raise BadRequest(
                f"the message has more than {most} fields, those of messages within it included; send less in"
                " one, and elements packed or as raw bytes"
            )
        return kind.FromString(raw)

    return parse


_parse_batch = parser(BatchRequest)


def parse_batch(raw: bytes) -> BatchRequest:
    """A batch of no more pictures than may be; raises as a `parser`."""
    batch: BatchRequest = _parse_batch(raw)
    if len(batch.requests) > MOST_PICTURES:
        raise BadRequest(f"requests: a batch has at most {MOST_PICTURES} pictures; send more batches")
    return batch
