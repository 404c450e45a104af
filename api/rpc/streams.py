"""Streams heard at once: as many as there are, while what has come of their next messages fits.

The library holds a message until it is whole and tells nobody before, so a camera that is silent looks like
one that sends slowly. The kernel knows better: it counts what has come on each connection.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from hotswap.errors import Overloaded

#: Seconds between two looks at what has come, while there are so many streams that it may be too much.
LOOK = 0.25
#: What a message takes on its way: its bytes, so much more for frames and TLS, and that for its own head.
_FRAMES, _HEAD = 1.05, 64
#: Bytes that the library takes in of a stream beyond the message that is read.
_AHEAD = 65_536
#: Bytes between two looks that are no message's: pings, of which the library allows one in five minutes.
_PINGS = 1


class Kernel(Protocol):
    """Who knows what came; see `sockets.Connections`."""

    def received(self, peers: Iterable[str]) -> Mapping[str, int]:
        """Bytes by caller, where they are known."""
        ...

    def forget(self, peer: str) -> None:
        """Nobody asks any more."""
        ...


@dataclass(eq=False, slots=True)
class _Connection:
    """`counted`: of the bytes that came, those that are answered for. None: nobody tells of this one."""

    counted: float | None = None
    asked: bool = False
    streams: int = 0
    turns: dict[asyncio.Timeout, bool] = field(default_factory=dict)  # True: it was ended for its bytes

    def waits(self, came: int | None, unknown: float) -> float:
        """Bytes of messages that are not whole yet; `unknown` for each where nobody tells."""
        if not self.asked:
            return 0.0
        if came is None or self.counted is None:
            return unknown * len(self.turns)
        # Where more was answered for than came, it was smaller on its way.
        self.counted = min(self.counted + _PINGS, came)
        # More than its streams can hold was something else: long metadata, or calls that were refused unread.
        self.counted = max(self.counted, came - (unknown + _AHEAD) * len(self.turns))
        return came - self.counted

    def end(self, now: float) -> None:
        """Let every stream go that reads here; their own tasks do that in a moment."""
        for turn in self.turns:
            self.turns[turn] = True
            turn.reschedule(now)


class Streams:
    """Reads the messages of streams; `most` bytes of them may be on their way, each of at most `size`.

    When more are, streams are ended on the connection of which most has come; who is silent is not. Where
    the system does not tell what came, every stream beyond those that would fit is counted as begun.
    """

    def __init__(self, most: int, size: int, kernel: Kernel) -> None:
        self._most = most
        self._size = size
        self._kernel = kernel
        self._connections: dict[str, _Connection] = {}
        self._new: set[str] = set()
        self._finding: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None

    @property
    def taken(self) -> int:
        """How many wait for a message."""
        return sum(len(each.turns) for each in self._connections.values())

    def opened(self, peer: str) -> None:
        """A caller has opened a stream."""
        if peer not in self._connections:
            self._connections[peer] = _Connection()
            self._new.add(peer)
            if self._finding is None:
                self._finding = asyncio.create_task(self._find())
        self._connections[peer].streams += 1

    async def _find(self) -> None:
        """Ask what came before the streams that are new; in a thread, since every descriptor is looked at."""
        try:
            while self._new:
                peers, self._new = self._new, set()
                came = await asyncio.to_thread(self._kernel.received, peers)
                for peer in peers:
                    connection = self._connections.get(peer)
                    if connection is None:
                        self._kernel.forget(peer)  # it has gone meanwhile
                    else:
                        connection.counted, connection.asked = came.get(peer), True
        finally:
            self._finding = None

    def closed(self, peer: str) -> None:
        """A stream has ended."""
        self._connections[peer].streams -= 1
        if not self._connections[peer].streams:
            del self._connections[peer]
            self._kernel.forget(peer)

    def whole(self, peer: str, size: int) -> None:
        """A message of a stream is whole: on a connection that has no other, nothing else is on its way."""
        connection = self._connections[peer]
        if connection.streams == 1 and connection.asked and self._timer is not None:
            connection.counted = self._kernel.received([peer]).get(peer, connection.counted)
        else:
            self._answered_for(connection, size)

    def beside(self, peer: str, size: int, head: Callable[[], int]) -> None:
        """A call that is no stream has sent so much on this connection; `head` tells its metadata's bytes."""
        connection = self._connections.get(peer)
        if connection is not None:
            self._answered_for(connection, size + head())

    @staticmethod
    def _answered_for(connection: _Connection, size: int) -> None:
        if connection.counted is not None:
            connection.counted += size * _FRAMES + _HEAD

    async def read(self, peer: str, read: Callable[[], Awaitable[Any]]) -> Any:
        """What `read` gives; raises `Overloaded` when too much is on its way, and most of it there."""
        turns = self._connections[peer].turns
        limit = asyncio.timeout(None)
        try:
            async with limit:
                turns[limit] = False
                self._look_later()
                return await read()
        except TimeoutError:
            if not turns[limit]:
                raise
            raise Overloaded(
                f"more than {self._most} bytes of messages are on their way; send less at once, and try again"
            ) from None
        finally:
            turns.pop(limit, None)

    def _look_later(self) -> None:
        if self._timer is None and self.taken > self._most // self._size:
            self._timer = asyncio.get_running_loop().call_later(LOOK, self._look)

    def _look(self) -> None:
        """End who has begun too much, and look again as long as there may be too much."""
        self._timer = None
        came = self._kernel.received([peer for peer, each in self._connections.items() if each.asked])
        waits = {
            peer: each.waits(came.get(peer), self._size)
            for peer, each in self._connections.items()
            if each.turns
        }
        total = sum(waits.values())
        for peer in sorted(waits, key=lambda peer: -waits[peer]):
            if total <= self._most:
                break
            total -= waits[peer]
            self._connections[peer].end(asyncio.get_running_loop().time())
        self._look_later()
