"""Concurrent work of one gRPC call: never more than a few pieces, and none outlives its call."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, Awaitable, Callable, Coroutine, Iterable
from typing import Any, Generic, TypeVar

from hotswap.errors import ShuttingDown

T = TypeVar("T")
R = TypeVar("R")

Do = Callable[[T], Coroutine[Any, Any, R]]
Give = Callable[[R], Awaitable[None]]

_END: Any = object()


async def run_unordered(items: Iterable[T], do: Do[T, R], give: Give[R], most: int) -> None:
    """Do all items, `most` at a time, and give each result when it is there.

    What `do` or `give` raises ends it all; whatever is under way then is given up.
    """
    left = iter(items)
    running: set[asyncio.Task[R]] = set()
    try:
        while True:
            while len(running) < most and (item := next(left, _END)) is not _END:
                running.add(asyncio.create_task(do(item)))
            if not running:
                return
            done, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                await give(await task)
    finally:
        await cancel_all(running)


class OrderedPipeline(Generic[T, R]):
    """Items that come one by one: done side by side, their results given in the order of the items.

    At most `most` are under way, those that wait for their turn included; while there is no room, nothing
    is read from the source.
    """

    def __init__(self, do: Do[T, R], give: Give[R], most: int) -> None:
        self._do = do
        self._give = give
        self._room = asyncio.Semaphore(most)
        self._line: asyncio.Queue[asyncio.Task[R] | None] = asyncio.Queue()
        self._running: set[asyncio.Task[R]] = set()
        self._reader: asyncio.Task[None] | None = None
        self._stopped = False

    def stop(self) -> None:
        """Read no more; what was read is still done and given."""
        self._stopped = True
        if self._reader is not None:
            self._reader.cancel()

    async def run(self, source: AsyncIterable[T]) -> bool:
        """Go on to the end of the source: True, or until `stop`: False.

        Raises what the source, `do` or `give` raises; whatever is under way then is given up.
        """
        self._reader = asyncio.create_task(self._read(source))
        # Not in the reader itself: one that is cancelled before it began runs no line of it.
        self._reader.add_done_callback(lambda _: self._line.put_nowait(None))
        if self._stopped:
            self._reader.cancel()
        try:
            while (task := await self._line.get()) is not None:
                await self._give(await task)
                self._room.release()
            return await self._read_all(self._reader)
        finally:
            await cancel_all({self._reader, *self._running})

    async def _read(self, source: AsyncIterable[T]) -> None:
        items = aiter(source)
        # The place first: nothing is read that could not be answered after a stop.
        while await self._room.acquire() and (item := await anext(items, _END)) is not _END:
            task = asyncio.create_task(self._do(item))
            self._running.add(task)
            task.add_done_callback(self._running.discard)
            self._line.put_nowait(task)

    async def _read_all(self, reader: asyncio.Task[None]) -> bool:
        (outcome,) = await asyncio.gather(reader, return_exceptions=True)
        if self._stopped:
            return False
        if outcome is not None:
            raise outcome
        return True


class OpenStreams:
    """The streams of one method, each answered `OrderedPipeline`, until the service ends."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._streams: set[OrderedPipeline[Any, Any]] = set()
        self._draining = False

    def __len__(self) -> int:
        return len(self._streams)

    def drain(self) -> None:
        """Let every stream answer what it has read, and end."""
        self._draining = True
        for stream in self._streams:
            stream.stop()

    async def run(self, source: AsyncIterable[T], do: Do[T, R], give: Give[R]) -> None:
        """Go on to the end of the source; raise `ShuttingDown` when the service ends before."""
        stream = OrderedPipeline(do, give, self._most)
        self._streams.add(stream)
        try:
            if self._draining:
                stream.stop()
            if not await stream.run(source):
                raise ShuttingDown("the service is ending; open another stream")
        finally:
            self._streams.discard(stream)


async def cancel_all(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancel them; return when all have ended."""
    ending = list(tasks)
    for task in ending:
        task.cancel()
    await asyncio.gather(*ending, return_exceptions=True)
