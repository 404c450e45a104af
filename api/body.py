"""Reading a request body within limits."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable

from starlette.requests import ClientDisconnect, Request
from starlette.types import Message, Receive, Scope

from api import context, encodings
from api.context import FAULT
from api.errors import BodyTooLarge
from hotswap.errors import BadRequest, DeadlineExceeded, Overloaded


class Store:
    """Bytes of all bodies that a worker holds at once, whether they are complete or still arriving.

    Threads that expand bodies count here, too, and so does whatever is given back when it is collected as
    garbage: that may happen in the middle of any call, by the thread that makes it.
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.held = 0
        self.peak = 0
        self._lock = threading.RLock()

    def add(self, size: int) -> None:
        """Hold `size` bytes more; raise `Overloaded` when that would be too many."""
        with self._lock:
            if self.held + size > self.capacity:
                raise Overloaded("the service holds too many pictures at once; try again shortly")
            self.held += size
            self.peak = max(self.peak, self.held)

    def remove(self, size: int) -> None:
        """Hold `size` bytes less."""
        with self._lock:
            self.held -= size

    def take_peak(self) -> int:
        """The most bytes held since this was last asked."""
        peak, self.peak = self.peak, self.held
        return peak


class Bounded:
    """A `receive` that raises `BodyTooLarge` as soon as more than `limit` bytes are known to come, and
    whatever the transport finds wrong with the body.

    What it has let through counts in the store until `release`.
    """

    def __init__(self, scope: Scope, receive: Receive, limit: int, store: Store) -> None:
        self._scope = scope
        self._receive = receive
        self._limit = limit
        self._store = store
        self._announced = _announced(scope)
        self._seen = 0
        self._beside = 0
        self._ended = False
        self._lock = threading.Lock()

    async def __call__(self) -> Message:
        """The next message. Raises `BodyTooLarge`, `Overloaded`."""
        if self._announced > self._limit:
            raise _too_large(self._limit)
        message = await self._receive()
        if (fault := self._scope.get(FAULT)) is not None:
            raise fault
        size = len(message.get("body", b""))
        if self._seen + size > self._limit:
            raise _too_large(self._limit)
        self._store.add(size)
        self._seen += size
        return message

    def hold(self, size: int) -> None:
        """Count `size` bytes that were made of the body and live as long; raise `Overloaded`.

        It may be called by a thread that works on after the request has ended, and raises then.
        """
        with self._lock:
            if self._ended:
                raise Overloaded("the request has ended")
            self._store.add(size)
            self._beside += size

    def release(self) -> None:
        """The request has ended: its body, and what was made of it, is no longer held."""
        with self._lock:
            self._ended = True
            self._store.remove(self._seen + self._beside)
            self._seen = self._beside = 0


def _announced(scope: Scope) -> int:
    for name, value in scope["headers"]:
        if name == b"content-length":
            return int(value) if value.isdigit() else 0
    return 0


def _too_large(limit: int) -> BodyTooLarge:
    return BodyTooLarge(f"the body has more than {limit} bytes; send less")


async def read(request: Request) -> bytes:
    """The whole body, before the request's deadline. Raises `BodyTooLarge`, `DeadlineExceeded`."""
    return await _in_time(request.body())


async def _in_time(reading: Awaitable[bytes]) -> bytes:
    state = context.current.get()
    try:
        async with asyncio.timeout(state.deadline - time.monotonic()):
            return await reading
    except TimeoutError:
        state.close = True
        raise DeadlineExceeded("the body did not arrive within the request's time") from None
    except ClientDisconnect:
        raise BadRequest("the client left before the body was complete") from None


async def read_small(request: Request, limit: int) -> bytes:
    """A body of at most `limit` bytes, also when it is expanded. Raises as `read` and `encodings` do."""
    encoding = encodings.of_body(request.headers)
    if _announced(request.scope) > limit:
        raise _too_large(limit)
    data = await _in_time(_few(request, limit))
    if encoding is None:
        return data
    return encodings.expand(data, encoding, limit, context.current.get().hold)


async def _few(request: Request, limit: int) -> bytes:
    parts: list[bytes] = []
    async for part in request.stream():
        parts.append(part)
        if sum(map(len, parts)) > limit:
            raise _too_large(limit)
    return b"".join(parts)


async def drain(receive: Receive, seconds: float) -> None:
    """Read and drop what the client still sends, for at most `seconds`, so that it sees the answer."""
    try:
        async with asyncio.timeout(seconds):
            while True:
                message = await receive()
                if message["type"] != "http.request" or not message.get("more_body", False):
                    return
    except TimeoutError:
        return
