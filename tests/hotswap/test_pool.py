"""Threads that run models, and what happens to work whose caller stops waiting."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import pytest
from anyio.lowlevel import checkpoint

from hotswap.errors import ShuttingDown
from hotswap.threads import InferencePool
from tests.hotswap.fakes import PATIENCE, Hold

pytestmark = pytest.mark.anyio


@pytest.fixture
def pool() -> Iterator[InferencePool]:
    pool = InferencePool(1)
    yield pool
    assert pool.close(PATIENCE)


class Back:
    """Counts what is given back, and in which thread that was."""

    def __init__(self) -> None:
        self.times = 0
        self.thread: str | None = None
        self.done = threading.Event()

    def __call__(self) -> None:
        self.times += 1
        self.thread = threading.current_thread().name
        self.done.set()


async def begun(hold: Hold) -> None:
    """Wait until the work stands still in its thread; the event loop runs on meanwhile."""
    await asyncio.to_thread(hold.reached)


async def test_work_runs_in_a_thread_of_the_pool_and_gives_back_there(pool: InferencePool) -> None:
    back = Back()
    thread, waited = await pool.run(lambda: threading.current_thread().name, back)
    assert thread.startswith("okawari-run")
    assert (back.times, back.thread) == (1, thread)
    assert waited >= 0


@pytest.mark.parametrize("error", [ValueError("no"), StopIteration(), TimeoutError("inside")])
async def test_what_the_work_raises_reaches_its_caller(pool: InferencePool, error: Exception) -> None:
    def work() -> None:
        raise error

    back = Back()
    with pytest.raises((type(error), RuntimeError)) as raised:
        async with asyncio.timeout(PATIENCE):
            await pool.run(work, back)
    assert repr(error) in repr(raised.value)
    assert back.times == 1


async def test_work_whose_caller_is_gone_gives_back_only_when_its_thread_ends(pool: InferencePool) -> None:
    hold, back = Hold(), Back()
    caller = asyncio.create_task(pool.run(hold.stop_here, back))
    await begun(hold)
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    assert (back.times, pool.running) == (0, 1)
    hold.let_go()
    assert await asyncio.to_thread(back.done.wait, PATIENCE)
    assert (back.times, (back.thread or "")[:11]) == (1, "okawari-run")


async def test_queued_work_whose_caller_is_gone_gives_back_at_once_and_never_runs(
    pool: InferencePool,
) -> None:
    hold, first, second = Hold(), Back(), Back()
    ran: list[str] = []
    running = asyncio.create_task(pool.run(hold.stop_here, first))
    await begun(hold)
    queued = asyncio.create_task(pool.run(lambda: ran.append("second"), second))
    await checkpoint()
    assert pool.queued == 1
    queued.cancel()
    with pytest.raises(asyncio.CancelledError):
        await queued
    assert (second.times, pool.queued) == (1, 0)
    hold.let_go()
    await running
    assert (ran, first.times) == ([], 1)


async def test_a_caller_cancelled_as_its_work_ends_gives_back_once(pool: InferencePool) -> None:
    hold, back = Hold(), Back()
    caller = asyncio.create_task(pool.run(hold.stop_here, back))
    await begun(hold)
    hold.let_go()
    assert back.done.wait(PATIENCE)  # the loop stands still: the result is under way to it
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    assert back.times == 1


async def test_work_is_done_in_the_order_it_came(pool: InferencePool) -> None:
    hold, order = Hold(), list[int]()
    first = asyncio.create_task(pool.run(hold.stop_here, Back()))
    await begun(hold)
    others = [
        asyncio.create_task(pool.run(lambda number=number: order.append(number), Back()))
        for number in range(5)
    ]
    await checkpoint()
    hold.let_go()
    await asyncio.gather(first, *others)
    assert order == [0, 1, 2, 3, 4]


async def test_closing_finishes_what_is_queued_and_takes_nothing_new() -> None:
    pool, hold, back = InferencePool(1), Hold(), Back()
    running = asyncio.create_task(pool.run(hold.stop_here, Back()))
    await begun(hold)
    queued = asyncio.create_task(pool.run(lambda: "done", back))
    await checkpoint()
    assert pool.close(0) is False
    late = Back()
    with pytest.raises(ShuttingDown):
        await pool.run(lambda: "late", late)
    assert late.times == 1
    hold.let_go()
    await running
    assert (await queued)[0] == "done"
    assert await asyncio.to_thread(pool.close, PATIENCE)


async def test_an_idle_thread_keeps_nothing_of_the_last_work_alive(pool: InferencePool) -> None:
    import gc
    import weakref

    class Model:
        """Something heavy."""

    model = Model()
    seen = weakref.ref(model)
    await pool.run(lambda model=model: None, Back())
    del model
    async with asyncio.timeout(PATIENCE):
        while pool.running:
            await checkpoint()
    gc.collect()
    assert seen() is None


def test_a_loop_that_ended_under_running_work_does_no_harm() -> None:
    pool, hold, back = InferencePool(1), Hold(), Back()

    async def leave() -> None:
        task = asyncio.create_task(pool.run(hold.stop_here, back))
        await begun(hold)
        task.cancel()

    asyncio.run(leave())
    hold.let_go()
    assert back.done.wait(PATIENCE)
    assert pool.close(PATIENCE)
    assert pool.running == 0
