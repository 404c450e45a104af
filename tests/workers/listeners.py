"""Workers with one listener each on one socket, and who connects to them."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import uvloop

from workers.listener import Listener, spread
from workers.membership import WorkerSlot, WorkerTable

BOTH = pytest.mark.parametrize("run", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])

#: Seconds within which whatever is waited for has happened.
SOON = 20.0

_OPEN: list[asyncio.StreamWriter] = []


class Echo(asyncio.Protocol):
    """Sends back what comes; `shutdown` hangs up, as the HTTP server's protocols have it."""

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)

    def shutdown(self) -> None:
        self.transport.close()


class Worker:
    """A seat, and a listener that takes the place of the loop's own server."""

    def __init__(self, folder: Path, count: int = 4) -> None:
        self.seats = WorkerTable(folder, count)
        self.seat: WorkerSlot = self.seats.take()
        self.listening = Listener(self.seat, self.seats)
        self._socket: socket.socket | None = None

    @property
    def told(self) -> int:
        """How many connections it has told the others that it has."""
        return self.seats.connections()[self.seat.index]

    async def open(self, listener: socket.socket, context: ssl.SSLContext | None = None) -> None:
        """Take connections, in this event loop."""
        loop = asyncio.get_running_loop()
        spread(self.listening, loop)
        self._socket = listener.dup()
        made: object = await loop.create_server(Echo, sock=self._socket, ssl=context, backlog=128)
        assert made is self.listening
        self.seat.start()

    def end(self) -> None:
        """Take no more, and leave the seat."""
        if self._socket is not None:
            self.listening.close()
            self._socket.close()
        self.seat.rest()


@asynccontextmanager
async def workers(folder: Path, count: int) -> AsyncIterator[tuple[socket.socket, list[Worker]]]:
    """A socket that listens, and workers that share it."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=128)
    sharing = [Worker(folder) for _ in range(count)]
    try:
        for worker in sharing:
            await worker.open(listener)
        yield listener, sharing
    finally:
        # Also after a failure: uvloop does not end beside open connections where warnings are errors.
        for writer in _OPEN:
            writer.transport.abort()
        await asyncio.sleep(0.05)
        _OPEN.clear()
        for worker in sharing:
            worker.end()
        listener.close()


async def connect(listener: socket.socket) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection, which ends with the workers at the latest."""
    reader, writer = await asyncio.open_connection(*listener.getsockname())
    _OPEN.append(writer)
    return reader, writer


async def echoes(pair: tuple[asyncio.StreamReader, asyncio.StreamWriter]) -> bool:
    """Whether somebody answers on this connection."""
    reader, writer = pair
    writer.write(b"x")
    return await asyncio.wait_for(reader.read(1), SOON) == b"x"


async def hang_up(pairs: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]]) -> None:
    """End the connections from this side."""
    for _, writer in pairs:
        writer.close()
    await asyncio.sleep(0)


async def until(check: Callable[[], bool]) -> None:
    """Wait until it is so; raises TimeoutError when it is not soon."""
    async with asyncio.timeout(SOON):
        while not check():
            await asyncio.sleep(0.001)
