"""The context of one HTTP request, available in every layer, the framework's included."""

from __future__ import annotations

import asyncio
import random
import re
import time
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TypeVar

from api.access.identity import Identity
from hotswap.errors import DeadlineExceeded, ServingError

#: Key of a request's scope for the `ServingError` that the transport found in it.
FAULT = "okawari.fault"
#: Key of a request's scope for the address of the other end of the connection, whatever its headers say.
PEER = "okawari.peer"
#: Key of a request's scope for a call that says, when the answer begins, whether the connection ends with it.
LAST_ANSWER = "okawari.last_answer"

T = TypeVar("T")

_SAFE_ID = re.compile(r"[A-Za-z0-9._:/+=@-]{1,128}")


@dataclass(slots=True)
class RequestContext:
    """One request. `deadline` is a `time.monotonic()` value."""

    request_id: str
    deadline: float
    received: float = field(default_factory=time.perf_counter)
    #: Requests with the same key get the same version where several share a model.
    route_key: str | None = None
    problem: ServingError | None = None
    #: Who calls, where that was asked; see `api.access.guard`.
    identity: Identity | None = None
    #: Media types that the caller accepts, the most preferred first; set where the answer has several.
    accepted: tuple[str, ...] = ()
    #: Counts bytes that the request holds beside its body until its end; raises `Overloaded`.
    hold: Callable[[int], None] = lambda _: None
    #: Stops counting bytes of the body that are no longer in memory.
    let_go: Callable[[int], None] = lambda _: None
    #: Statuses of errors on this route, where they are not those of all others.
    statuses: Sequence[tuple[type[ServingError], int]] | None = None
    #: The path prefix under which the caller knows the service; empty for none.
    prefix: str = ""
    #: Whether errors have the shape and statuses of the Open Inference Protocol (under /v2 and /v1).
    protocol: bool = False
    #: Set when the response already has our error shape.
    shaped: bool = False
    #: Set when the body was not read to its end and the client may still be sending.
    linger: bool = False
    #: Set when the connection cannot be reused.
    close: bool = False


current: ContextVar[RequestContext] = ContextVar("okawari_request")


def request_id(sent: str | None) -> str:
    """The caller's id if it is safe in logs and headers, else a new one."""
    if sent is not None and _SAFE_ID.fullmatch(sent):
        return sent
    # It must be unique, not secret; the system's randomness would cost more than the rest of this layer.
    return f"{random.getrandbits(128):032x}"


def route_key(sent: str | None) -> str | None:
    """The key that a caller has sent, if it is as an id may be."""
    return sent if sent is not None and _SAFE_ID.fullmatch(sent) else None


async def in_time(work: Callable[[], T], deadline: float) -> T:
    """Run `work` in a thread outside the inference pool. Raises `DeadlineExceeded` at the deadline.

    It takes no admission: it is for the end of a request that was admitted.
    """
    try:
        async with asyncio.timeout(deadline - time.monotonic()):
            return await asyncio.to_thread(work)
    except TimeoutError:
        raise DeadlineExceeded("the answer could not be encoded before the request's deadline") from None
