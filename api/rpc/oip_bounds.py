"""Messages of the Open Inference Protocol as they come: counted before they are read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from api.oip.messages import MOST_PARAMETERS, MOST_TENSORS
from api.protos import inference_pb2 as messages
from api.rpc.counting import PLAIN, Within, limited

#: Fields of a message: three lists of tensors, parameters, and what is there once.
_MOST_FIELDS = 3 * MOST_TENSORS + MOST_PARAMETERS + 16
_TOO_MANY = f"inputs, outputs and parameters: the message has more than {_MOST_FIELDS} of them"
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
    return limited(read, _MOST_FIELDS, _TOO_MANY)
