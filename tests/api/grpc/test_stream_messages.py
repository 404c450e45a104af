"""Reading the messages of a stream."""

from __future__ import annotations

import asyncio

import pytest

from api.budget import ByteBudget
from api.grpc.flow_control import Connections, HeldBytes, MessageReceiver

pytestmark = pytest.mark.anyio


class _Caller:
    """Has always sent something, which takes a turn of the loop to arrive."""

    def peer(self) -> str:
        return "ipv4:127.0.0.1:1"

    def invocation_metadata(self) -> None:
        return None

    async def read(self) -> bytes:
        await asyncio.sleep(0)
        return b"message"


async def test_a_reader_that_is_cancelled_at_any_moment_reads_no_more() -> None:
    cancelled = 0
    for turns in range(10):
        store = ByteBudget(1_000)
        messages = MessageReceiver(store, 100, Connections(lambda: 1)).stream(
            _Caller(), HeldBytes(store), bytes
        )
        reading = asyncio.ensure_future(anext(messages))
        for _ in range(turns):
            await asyncio.sleep(0)
        late = reading.done()
        reading.cancel()
        await asyncio.wait([reading])
        assert late or reading.cancelled(), turns
        cancelled += reading.cancelled()
    assert 3 < cancelled < 10
