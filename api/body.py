"""Reading a request body within limits."""

from __future__ import annotations

import asyncio
import time

from starlette.requests import ClientDisconnect, Request
from starlette.types import Message, Receive, Scope

from api import context
from api.errors import BodyTooLarge
from hotswap.errors import BadRequest, DeadlineExceeded


def bounded(scope: Scope, receive: Receive, limit: int) -> Receive:
    """A `receive` that raises `BodyTooLarge` as soon as more than `limit` bytes are known to come."""
    seen = 0
    announced = _announced(scope)

    async def counted() -> Message:
        nonlocal seen
        if announced > limit:
            raise _too_large(limit)
        message = await receive()
        seen += len(message.get("body", b""))
        if seen > limit:
            raise _too_large(limit)
        return message

    return counted


def _announced(scope: Scope) -> int:
    for name, value in scope["headers"]:
        if name == b"content-length":
            return int(value) if value.isdigit() else 0
    return 0


def _too_large(limit: int) -> BodyTooLarge:
    return BodyTooLarge(f"the body has more than {limit} bytes; send a smaller picture")


async def read(request: Request) -> bytes:
    """The whole body, before the request's deadline. Raises `BodyTooLarge`, `DeadlineExceeded`."""
    deadline = context.current.get().deadline
    try:
        async with asyncio.timeout(deadline - time.monotonic()):
            return await request.body()
    except TimeoutError:
        raise DeadlineExceeded("the body did not arrive within the request's time") from None
    except ClientDisconnect:
        raise BadRequest("the client left before the body was complete") from None


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
