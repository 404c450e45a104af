"""Reading a body within limits."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

import pytest
from starlette.requests import Request
from starlette.types import Message

from api import budget, context
from api.context import RequestContext
from api.errors import BodyTooLarge
from api.http import body
from hotswap.errors import BadRequest, DeadlineExceeded
from tests.hotswap.fakes import PATIENCE

Receive = Callable[[], Awaitable[Message]]


def _sends(*pieces: bytes, then_stop: bool = False) -> Receive:
    """A client that sends these pieces, and then leaves, or is done."""
    left = list(pieces)

    async def receive() -> Message:
        if not left:
            return {"type": "http.disconnect"}
        piece = left.pop(0)
        return {"type": "http.request", "body": piece, "more_body": bool(left) or then_stop}

    return receive


async def _silent() -> Message:
    await asyncio.Event().wait()
    raise AssertionError


def _scope(**headers: str) -> dict[str, object]:
    pairs = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return {"type": "http", "method": "POST", "headers": pairs}


@contextmanager
def _request(seconds: float = 60) -> Iterator[None]:
    token = context.current.set(RequestContext("id", time.monotonic() + seconds))
    yield
    context.current.reset(token)


def _read(receive: Receive, limit: int = 10, seconds: float = 60, **headers: str) -> bytes:
    scope = _scope(**headers)
    with _request(seconds):
        return asyncio.run(
            body.read(Request(scope, body.BoundedReceive(scope, receive, limit, budget.ByteBudget(10**9))))
        )


def test_a_body_up_to_the_limit_is_read() -> None:
    assert _read(_sends(b"12345", b"67890")) == b"1234567890"
    assert _read(_sends(b""), content_length="0") == b""


def test_bytes_beyond_the_limit_are_refused_even_if_nobody_announced_them() -> None:
    with pytest.raises(BodyTooLarge):
        _read(_sends(b"12345", b"678901"))
    with pytest.raises(BodyTooLarge):
        _read(_sends(b"12345", b"678901"), content_length="5")


def test_an_announced_length_beyond_the_limit_is_refused_before_a_byte_is_read() -> None:
    with pytest.raises(BodyTooLarge):
        _read(_silent, content_length="11")


def test_odd_lengths_are_counted_instead() -> None:
    for odd in ("-1", "+5", "five", " 5"):
        assert _read(_sends(b"12345"), content_length=odd) == b"12345"


def test_a_body_that_does_not_come_is_given_up_at_the_deadline() -> None:
    with pytest.raises(DeadlineExceeded):
        _read(_silent, seconds=0.01)
    with pytest.raises(DeadlineExceeded):
        _read(_silent, seconds=-1)


def test_a_client_that_leaves_is_the_clients_fault() -> None:
    with pytest.raises(BadRequest):
        _read(_sends(b"12", then_stop=True))


def test_draining_ends_with_the_body_the_client_or_the_time() -> None:
    left = _sends(b"1", b"2", b"3")
    asyncio.run(body.drain(left, 60))
    assert asyncio.run(_next(left)) == "http.disconnect"
    asyncio.run(body.drain(_sends(b"1", then_stop=True), 60))
    asyncio.run(body.drain(_silent, 0.01))


async def _next(receive: Receive) -> str:
    return str((await receive())["type"])


def test_what_is_collected_in_the_middle_of_a_call_is_given_back_by_the_same_thread() -> None:
    store = budget.ByteBudget(100)
    store.add(60)

    class Collects(int):
        """When it is counted, garbage is collected, and something that was held goes."""

        def __radd__(self, held: int) -> int:
            asking.append(held)
            if len(asking) == 1:
                store.remove(60)
            return held + int(self)

    asking: list[int] = []
    adding = threading.Thread(target=store.add, args=(Collects(30),), daemon=True)
    adding.start()
    adding.join(PATIENCE)
    assert not adding.is_alive()
    assert store.held == 30
