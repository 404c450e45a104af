"""Reading the messages of a stream."""

from __future__ import annotations

import asyncio

import pytest

from api.rpc.receiving import Messages

pytestmark = pytest.mark.anyio


class _Caller:
    """Has always sent something, which takes a turn of the loop to arrive."""

    async def read(self) -> bytes:
        await asyncio.sleep(0)
        return b"message"


async def test_a_reader_that_is_cancelled_at_any_moment_reads_no_more() -> None:
    cancelled = 0
    for turns in range(10):
        reading = asyncio.ensure_future(anext(Messages(_Caller(), bytes)))
        for _ in range(turns):
            await asyncio.sleep(0)
        late = reading.done()
        reading.cancel()
        await asyncio.wait([reading])
        assert late or reading.cancelled(), turns
        cancelled += reading.cancelled()
    assert 3 < cancelled < 10
