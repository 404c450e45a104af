"""Messages of ModelMora as they come: counted before they are read."""

from __future__ import annotations

from api.protos.modelmora_pb2 import BatchRequest, EmbeddingRequest
from api.rpc.counting import limited

#: Pictures of one batch, and fields of a picture's request beside its options.
MOST, _MOST_FIELDS = 10_000, 256

#: Both raise `BadRequest` for what is too many, and `DecodeError` for other bytes.
read = limited(
    BatchRequest.FromString, MOST, f"requests: a batch has at most {MOST} pictures; send more batches"
)
read_one = limited(
    EmbeddingRequest.FromString, _MOST_FIELDS, f"options: the message has more than {_MOST_FIELDS} fields"
)
