"""Reads request bodies within limits."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable

from starlette.requests import ClientDisconnect, Request
from starlette.types import Message, Receive, Scope

from api import context
from api.budget import ByteBudget
from api.context import FAULT
from api.errors import BodyTooLarge
from api.http import content_encoding
from hotswap.errors import BadRequest, DeadlineExceeded, Overloaded


class BoundedReceive:
    """A `receive` that raises `BodyTooLarge` as soon as the body is known to exceed `limit`, and any fault
    that the transport found in the body.

    The bytes passed on count in the budget until `release`.
    """

    def __init__(self, scope: Scope, receive: Receive, limit: int, budget: ByteBudget) -> None:
        self._scope = scope
        self._receive = receive
        self._limit = limit
        self._budget = budget
        self._declared = _declared(scope)
        self._received = 0
        self._beside = 0
        self._gone = 0
        self._ended = False
        self._lock = threading.Lock()

    async def __call__(self) -> Message:
        """The next message. Raises `BodyTooLarge`, `Overloaded`."""
        if self._declared > self._limit:
            raise _too_large(self._limit)
        message = await self._receive()
        if (fault := self._scope.get(FAULT)) is not None:
            raise fault
        size = len(message.get("body", b""))
        if self._received + size > self._limit:
            raise _too_large(self._limit)
        self._budget.add(size)
        self._received += size
        return message

    def hold(self, size: int) -> None:
        """Count `size` more bytes, derived from the body, until `release`. Raises `Overloaded`.

        A thread that outlives its request may still call it; then it raises too.
        """
        with self._lock:
            if self._ended:
                raise Overloaded("the request has ended")
            self._budget.add(size)
            self._beside += size

    def let_go(self, size: int) -> None:
        """Stop counting `size` bytes of the body: they are on disk now."""
        with self._lock:
            size = min(size, self._received - self._gone)
            self._budget.remove(size)
            self._gone += size

    def release(self) -> None:
        """End the request: its body and the derived bytes are no longer counted."""
        with self._lock:
            self._ended = True
            self._budget.remove(self._received - self._gone + self._beside)
            self._received = self._beside = self._gone = 0


def _declared(scope: Scope) -> int:
    for name, value in scope["headers"]:
        if name == b"content-length":
            return int(value) if value.isdigit() else 0
    return 0


def _too_large(limit: int) -> BodyTooLarge:
    return BodyTooLarge(f"the body has more than {limit} bytes; send less")


async def read(request: Request) -> bytes:
    """The whole body, before the request's deadline. Raises `BodyTooLarge`, `DeadlineExceeded`."""
    return await in_time(request.body())


async def in_time(reading: Awaitable[bytes]) -> bytes:
    """A piece of the body, or all of it. Raises as `read` does, and what `reading` raises."""
    state = context.current.get()
    try:
        async with asyncio.timeout(state.deadline - time.monotonic()):
            return await reading
    except TimeoutError:
        state.close = True
        raise DeadlineExceeded("the body did not arrive within the request's time") from None
    except ClientDisconnect:
        raise BadRequest("the client disconnected before the body was complete") from None


async def read_small(request: Request, limit: int) -> bytes:
    """A body of at most `limit` bytes, also after decompression. Raises as `read` and `expand` do."""
    encoding = content_encoding.of_body(request.headers)
    if _declared(request.scope) > limit:
        raise _too_large(limit)
    data = await in_time(_limited(request, limit))
    if encoding is None:
        return data
    return content_encoding.expand(data, encoding, limit, context.current.get().hold)


async def _limited(request: Request, limit: int) -> bytes:
    parts: list[bytes] = []
    async for part in request.stream():
        parts.append(part)
        if sum(map(len, parts)) > limit:
            raise _too_large(limit)
    return b"".join(parts)


async def drain(receive: Receive, seconds: float) -> None:
    """Read and drop the rest of the body, for at most `seconds`, so that the client sees the answer."""
    try:
        async with asyncio.timeout(seconds):
            while True:
                message = await receive()
                if message["type"] != "http.request" or not message.get("more_body", False):
                    return
    except TimeoutError:
        return
