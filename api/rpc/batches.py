"""Messages of ModelMora as they come: counted before they are read."""

from __future__ import annotations

from api.protos.modelmora_pb2 import BatchRequest, EmbeddingRequest
from api.rpc.counting import PLAIN, limited
from hotswap.errors import BadRequest

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
