"""Work side by side: bounded, in its order, and given up with its call."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from typing import Any, TypeVar

import pytest
from anyio.lowlevel import checkpoint

from api.grpc.concurrency import OrderedPipeline, run_unordered

pytestmark = pytest.mark.anyio

T = TypeVar("T")


class Work:
    """Pieces of work that end when the test says so."""

    def __init__(self) -> None:
        self.gates: dict[int, asyncio.Future[None]] = {}
        self.begun: list[int] = []
        self.given: list[int] = []
        self.given_up: list[int] = []
        self.read: list[int] = []

    async def do(self, item: int) -> int:
        self.begun.append(item)
        try:
            await self.gates.setdefault(item, asyncio.get_running_loop().create_future())
        except asyncio.CancelledError:
            self.given_up.append(item)
            raise
        return item

    async def give(self, result: int) -> None:
        await checkpoint()
        self.given.append(result)

    async def end(self, *items: int) -> None:
        """Let these end, one after the other."""
        for item in items:
            self.gates[item].set_result(None)
            await rest()

    async def source(self, count: int) -> AsyncIterator[int]:
        """Items, and which were read."""
        for item in range(count):
            self.read.append(item)
            yield item


async def begin(running: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
    """It has gone on as far as it can."""
    task = asyncio.create_task(running)
    await rest()
    return task


async def rest() -> None:
    """Turns of the loop, more than any chain of callbacks here has."""
    for _ in range(20):
        await asyncio.sleep(0)


async def test_results_are_given_as_they_are_ready_and_never_more_than_so_many_are_under_way() -> None:
    work = Work()
    task = await begin(run_unordered(range(5), work.do, work.give, 2))
    assert work.begun == [0, 1]
    await work.end(1)
    assert (work.given, work.begun) == ([1], [0, 1, 2])
    await work.end(2, 3, 4)
    assert work.given == [1, 2, 3, 4]
    await work.end(0)
    await task
    assert work.given == [1, 2, 3, 4, 0]


async def test_nothing_to_do_is_done_at_once() -> None:
    work = Work()
    await run_unordered([], work.do, work.give, 2)
    assert await OrderedPipeline(work.do, work.give, 2).run(work.source(0))


async def test_while_nobody_takes_a_result_no_more_is_begun() -> None:
    work, taken = Work(), asyncio.Event()

    async def slow(result: int) -> None:
        await taken.wait()
        work.given.append(result)

    task = await begin(run_unordered(range(9), work.do, slow, 2))
    await work.end(0, 1)
    assert work.begun == [0, 1]
    taken.set()
    await rest()
    assert (sorted(work.given), len(work.begun)) == ([0, 1], 4)
    task.cancel()
    await asyncio.wait([task])


async def test_what_is_under_way_is_given_up_when_its_call_is_cancelled() -> None:
    work = Work()
    for running in (
        run_unordered(range(5), work.do, work.give, 2),
        OrderedPipeline(work.do, work.give, 2).run(work.source(5)),
    ):
        for kept in (work.gates, work.begun, work.given_up):
            kept.clear()
        task = await begin(running)
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()
        assert sorted(work.given_up) == sorted(work.begun) == [0, 1]


async def test_what_is_under_way_is_given_up_when_a_result_cannot_be_given() -> None:
    async def broken(result: int) -> None:
        raise ConnectionError("nobody there")

    work = Work()
    for running in (
        run_unordered(range(5), work.do, broken, 2),
        OrderedPipeline(work.do, broken, 2).run(work.source(5)),
    ):
        work.gates.clear()
        work.given_up.clear()
        task = await begin(running)
        await work.end(0)
        with pytest.raises(ConnectionError):
            await task
        assert work.given_up == [1]


async def test_results_are_given_in_the_order_of_the_items_and_reading_waits_for_room() -> None:
    work = Work()
    task = await begin(OrderedPipeline(work.do, work.give, 3).run(work.source(5)))
    assert (work.begun, work.read) == ([0, 1, 2], [0, 1, 2])
    await work.end(2, 1)
    assert (work.given, work.read) == ([], [0, 1, 2])
    await work.end(0)
    assert (work.given, work.read) == ([0, 1, 2], [0, 1, 2, 3, 4])
    await work.end(4, 3)
    assert await task
    assert work.given == [0, 1, 2, 3, 4]


async def test_a_stop_reads_no_more_and_gives_all_that_was_read() -> None:
    work = Work()
    stream = OrderedPipeline(work.do, work.give, 3)
    task = await begin(stream.run(work.source(9)))
    stream.stop()
    await work.end(2, 0, 1)
    assert not await task
    assert (work.read, work.given, work.given_up) == ([0, 1, 2], [0, 1, 2], [])


async def test_a_stop_ends_a_stream_that_waits_for_its_source() -> None:
    async def silent() -> AsyncIterator[int]:
        yield 0
        await asyncio.Event().wait()

    work = Work()
    stream = OrderedPipeline(work.do, work.give, 3)
    task = await begin(stream.run(silent()))
    stream.stop()
    await work.end(0)
    assert not await task
    assert work.given == [0]


async def test_a_stream_that_was_stopped_before_it_ran_reads_nothing() -> None:
    work = Work()
    stream = OrderedPipeline(work.do, work.give, 3)
    stream.stop()
    assert not await stream.run(work.source(9))
    assert work.read == []


async def test_what_the_source_raises_comes_after_what_was_read() -> None:
    async def broken() -> AsyncIterator[int]:
        yield 0
        raise ConnectionError("gone")

    work = Work()
    task = await begin(OrderedPipeline(work.do, work.give, 3).run(broken()))
    await work.end(0)
    with pytest.raises(ConnectionError):
        await task
    assert work.given == [0]
