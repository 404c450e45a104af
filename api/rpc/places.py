"""Places for messages that are on their way: who keeps others waiting gives way."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from hotswap.errors import Overloaded

#: Seconds that a place may be kept while others wait for one.
PATIENCE = 5.0
_SAID = "the message arrives slowly and others wait; try again shortly"


@dataclass(eq=False, slots=True)
class _Turn:
    """A place that is taken. `limit` ends its read; `ended` says that others need the place."""

    limit: asyncio.Timeout
    since: float
    ended: bool = False

    @property
    def leaves(self) -> bool:
        """Whether the place is about to be free."""
        return self.ended or self.limit.expired()

    def end(self, now: float) -> None:
        """Let it go; its own task does that in a moment."""
        self.ended = True
        self.limit.reschedule(now)


class Places:
    """So many may read at once; the others wait in their order. `said` is what one is told that must go.

    While somebody waits, the place that was taken first, and longer than `PATIENCE` ago, is taken back.
    """

    def __init__(self, count: int, said: str = _SAID) -> None:
        self._count = count
        self._said = said
        self._free = asyncio.Semaphore(count)
        self._turns: dict[_Turn, None] = {}  # the oldest first
        self._waiting = 0
        self._timer: asyncio.TimerHandle | None = None

    @property
    def taken(self) -> int:
        """How many read."""
        return len(self._turns)

    async def read(self, read: Callable[[], Awaitable[Any]], until: float | None) -> Any:
        """What `read` gives.

        Raises `TimeoutError` when it is `until` by the loop's clock (None: never), waiting or reading, and
        `Overloaded` when the place was needed.
        """
        if self._free.locked():
            async with asyncio.timeout_at(until):
                await self._wait()
        else:
            await self._free.acquire()  # at once
        try:
            return await self._read(read, until)
        finally:
            self._free.release()

    async def _wait(self) -> None:
        self._waiting += 1
        try:
            self._look()
            await self._free.acquire()
        finally:
            self._waiting -= 1

    async def _read(self, read: Callable[[], Awaitable[Any]], until: float | None) -> Any:
        turn = _Turn(asyncio.timeout_at(until), asyncio.get_running_loop().time())
        try:
            async with turn.limit:
                self._turns[turn] = None
                if self._waiting:
                    self._look()
                return await read()
        except TimeoutError:
            if not turn.ended:
                raise
            raise Overloaded(self._said) from None
        finally:
            self._turns.pop(turn, None)

    def _look(self) -> None:
        """Take back what is needed; look again when the next has had its time."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        loop, needed = asyncio.get_running_loop(), self._needed()
        for turn in (each for each in self._turns if not each.leaves):
            if needed <= 0:
                return
            due = turn.since + PATIENCE
            if due > loop.time():
                self._timer = loop.call_at(due, self._look)
                return
            turn.end(loop.time())
            needed -= 1

    def _needed(self) -> int:
        """How many wait for whom no place is free, nor about to be."""
        coming = self._count - len(self._turns) + sum(each.leaves for each in self._turns)
        return self._waiting - coming
