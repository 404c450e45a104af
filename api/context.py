"""What one HTTP request carries through every layer, the framework's own included."""

from __future__ import annotations

import random
import re
import time
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass, field

from hotswap.errors import ServingError

#: Where a request's scope has what the transport finds wrong with it, at once or meanwhile: a `ServingError`.
FAULT = "okawari.fault"

_SAFE_ID = re.compile(r"[A-Za-z0-9._:/+=@-]{1,128}")


@dataclass(slots=True)
class RequestContext:
    """One request. `deadline` is a moment of `time.monotonic()`."""

    request_id: str
    deadline: float
    received: float = field(default_factory=time.perf_counter)
    problem: ServingError | None = None
    #: Media types that the caller takes, the most wanted first; read where the answer has several.
    accepted: tuple[str, ...] = ()
    #: Counts bytes that the request holds beside its body, until it ends; raises `Overloaded`.
    hold: Callable[[int], None] = lambda _: None
    #: Whether errors have the shape and the statuses of the Open Inference Protocol; so they have under V1.
    protocol: bool = False
    #: Set when the response already has our error shape.
    shaped: bool = False
    #: Set when the body is not read to its end and the client may still be sending.
    linger: bool = False
    #: Set when the connection cannot be used again.
    close: bool = False


current: ContextVar[RequestContext] = ContextVar("okawari_request")


def request_id(sent: str | None) -> str:
    """The caller's id if it is harmless in logs and headers, else a new one."""
    if sent is not None and _SAFE_ID.fullmatch(sent):
        return sent
    # It must be unique, not secret; asking the system for randomness costs more than all else here.
    return f"{random.getrandbits(128):032x}"
