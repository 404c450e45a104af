"""Reading the messages of a stream."""

from __future__ import annotations

import asyncio

import pytest

from api.budget import ByteBudget
from api.errors import BodyTooLarge
from api.grpc.flow_control import HeldBytes, MessageLimits, MessageReceiver, Messages

pytestmark = pytest.mark.anyio


class _Caller:
    """Has always sent something, which takes a turn of the loop to arrive."""

    async def read(self) -> bytes:
        await asyncio.sleep(0)
        return b"message"


def _stream(limits: MessageLimits) -> Messages:
    store = ByteBudget(1_000)
    return MessageReceiver(store, limits).stream(_Caller(), HeldBytes(store), bytes)


async def test_a_reader_that_is_cancelled_at_any_moment_reads_no_more() -> None:
    cancelled = 0
    for turns in range(10):
        reading = asyncio.ensure_future(anext(_stream(MessageLimits(100, 100, 1))))
        for _ in range(turns):
            await asyncio.sleep(0)
        late = reading.done()
        reading.cancel()
        await asyncio.wait([reading])
        assert late or reading.cancelled(), turns
        cancelled += reading.cancelled()
    assert 3 < cancelled < 10


@pytest.mark.parametrize(("body", "stream_message"), [(6, 100), (100, 6)])
async def test_a_message_of_a_stream_has_at_most_the_bytes_of_any_and_of_a_streams(
    body: int, stream_message: int
) -> None:
    with pytest.raises(BodyTooLarge, match="may have 6 bytes and this one has 7"):
        await anext(_stream(MessageLimits(body, stream_message, 1)))
