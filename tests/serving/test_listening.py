"""Two listeners on one socket, in one event loop or in two: who gets what, and what is told of it."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import ssl
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import uvloop

from registry.seats import Seat, Seats
from serving.listening import Listening, spread
from serving.turns import AWAY, PATIENCE, PAUSE

BOTH = pytest.mark.parametrize("run", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])

_SOON = 5.0


class _Echo(asyncio.Protocol):
    """Sends back what comes; `shutdown` hangs up, as the HTTP server's protocols have it."""

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)

    def shutdown(self) -> None:
        self.transport.close()


class _Worker:
    """A seat, and a listener that takes the place of the loop's own server."""

    def __init__(self, folder: Path, count: int = 4) -> None:
        self.seats = Seats(folder, count)
        self.seat: Seat = self.seats.take()
        self.listening = Listening(self.seat, self.seats)
        self._socket: socket.socket | None = None

    @property
    def told(self) -> int:
        return self.seats.connections()[self.seat.index]

    async def open(self, listener: socket.socket, context: ssl.SSLContext | None = None) -> None:
        loop = asyncio.get_running_loop()
        spread(self.listening, loop)
        self._socket = listener.dup()
        made: object = await loop.create_server(_Echo, sock=self._socket, ssl=context, backlog=128)
        assert made is self.listening
        self.seat.start()

    def end(self) -> None:
        if self._socket is not None:
            self.listening.close()
            self._socket.close()
        self.seat.rest()


@asynccontextmanager
async def _workers(folder: Path, count: int) -> AsyncIterator[tuple[socket.socket, list[_Worker]]]:
    listener = socket.create_server(("127.0.0.1", 0), backlog=128)
    workers = [_Worker(folder) for _ in range(count)]
    try:
        for worker in workers:
            await worker.open(listener)
        yield listener, workers
    finally:
        # Also after a failure: uvloop does not end beside open connections where warnings are errors.
        for writer in _OPEN:
            writer.transport.abort()
        await asyncio.sleep(0.05)
        _OPEN.clear()
        for worker in workers:
            worker.end()
        listener.close()


_OPEN: list[asyncio.StreamWriter] = []


async def _connect(listener: socket.socket) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection(*listener.getsockname())
    _OPEN.append(writer)
    return reader, writer


async def _echoes(pair: tuple[asyncio.StreamReader, asyncio.StreamWriter]) -> bool:
    reader, writer = pair
    writer.write(b"x")
    return await asyncio.wait_for(reader.read(1), _SOON) == b"x"


async def _hang_up(pairs: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]]) -> None:
    for _, writer in pairs:
        writer.close()
    await asyncio.sleep(0)


async def _until(check: Callable[[], bool]) -> None:
    async with asyncio.timeout(_SOON):
        while not check():
            await asyncio.sleep(0.001)


@BOTH
def test_connections_are_told_from_their_beginning_to_their_end(run: Any, tmp_path: Path) -> None:
    async def main() -> None:
        async with _workers(tmp_path, 1) as (listener, (worker,)):
            pairs = [await _connect(listener) for _ in range(6)]
            await _until(lambda: worker.told == 6)  # idle ones that never sent a byte, too
            assert all([await _echoes(pair) for pair in pairs])
            pairs[0][1].close()
            pairs[1][1].transport.abort()
            await _until(lambda: worker.told == 4)
            await _hang_up(pairs)
            await _until(lambda: worker.told == 0)

    run(main())


@BOTH
def test_a_handshake_that_fails_is_a_connection_that_has_ended(run: Any, tmp_path: Path) -> None:
    async def main() -> None:
        listener = socket.create_server(("127.0.0.1", 0))
        worker = _Worker(tmp_path)
        await worker.open(listener, ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))
        _, writer = await _connect(listener)
        await _until(lambda: worker.told == 1)
        writer.write(b"this is not TLS\r\n\r\n")
        await _until(lambda: worker.told == 0)
        writer.close()
        worker.end()
        listener.close()

    run(main())


@BOTH
@pytest.mark.parametrize("count", [2, 4])
def test_connections_that_come_at_once_are_spread(run: Any, tmp_path: Path, count: int) -> None:
    async def main() -> None:
        async with _workers(tmp_path, count) as (listener, workers):
            pairs = [await _connect(listener) for _ in range(64)]
            await _until(lambda: sum(worker.told for worker in workers) == 64)
            assert [min(worker.told for worker in workers) >= 64 // count // 2, len(pairs)] == [True, 64]

    run(main())


@BOTH
def test_what_was_left_to_one_that_hangs_is_answered_nevertheless(run: Any, tmp_path: Path) -> None:
    async def main() -> None:
        async with _workers(tmp_path, 1) as (listener, (worker,)):
            hung = _Worker(tmp_path)  # its heart beats, it has fewer connections, and it takes none
            hung.seat.tell_connections(0)
            hung.seat.start()
            pairs = [await _connect(listener) for _ in range(20)]
            assert all([await _echoes(pair) for pair in pairs])
            assert worker.told == 20
            hung.end()

    run(main())


@BOTH
def test_what_is_left_to_another_is_looked_at_after_pauses(run: Any, tmp_path: Path) -> None:
    async def main() -> None:
        async with _workers(tmp_path, 1) as (listener, (worker,)):
            hung = _Worker(tmp_path)
            hung.seat.tell_connections(0)
            hung.seat.start()
            assert await _echoes(await _connect(listener))
            begun = time.monotonic()
            assert await _echoes(await _connect(listener))
            assert time.monotonic() - begun > 0.8 * PATIENCE * PAUSE
            assert worker.told == 2
            hung.end()

    run(main())


@BOTH
def test_a_connection_that_cannot_be_taken_is_not_the_end_of_taking(
    run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serving.listening._NO_ROOM_PAUSE", 0.01)
    errors, accept = list[OSError](), socket.socket.accept

    def failing(listener: socket.socket) -> Any:
        if errors:
            raise errors.pop()
        return accept(listener)

    monkeypatch.setattr(socket.socket, "accept", failing)

    async def main() -> None:
        async with _workers(tmp_path, 1) as (listener, (worker,)):
            hung = _Worker(tmp_path)  # what is left to it is looked at after pauses, by nobody's call
            hung.seat.tell_connections(0)
            hung.seat.start()
            assert await _echoes(await _connect(listener))
            errors.append(OSError(errno.EPROTO, "Protocol error"))
            assert await _echoes(await _connect(listener))
            assert (errors, worker.told) == ([], 2)
            hung.end()

    run(main())


@BOTH
def test_a_protocol_that_cannot_be_made_is_a_connection_that_has_ended(
    run: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        listener = socket.create_server(("127.0.0.1", 0))
        worker = _Worker(tmp_path)
        worker.listening.open_on(loop, _impossible, listener, None, 10)
        with socket.create_connection(listener.getsockname(), _SOON) as client:
            assert await asyncio.to_thread(client.recv, 1) == b""
        assert worker.told == 0
        assert "cannot be" in caplog.text
        worker.listening.close()
        worker.end()
        listener.close()

    run(main())


def _impossible() -> asyncio.Protocol:
    raise RuntimeError("cannot be")


def _waiting(listener: socket.socket, count: int) -> list[socket.socket]:
    """Connections that nobody has taken: the kernel answers connects by itself."""
    clients = [socket.create_connection(listener.getsockname(), _SOON) for _ in range(count)]
    for client in clients:
        client.sendall(b"x")
    return clients


async def _all_echo(clients: list[socket.socket]) -> bool:
    answers = [await asyncio.to_thread(client.recv, 1) for client in clients]
    for client in clients:
        client.close()
    return answers == [b"x"] * len(clients)


@BOTH
def test_one_that_ends_leaves_what_waits_to_the_others(run: Any, tmp_path: Path) -> None:
    async def main() -> None:
        async with _workers(tmp_path, 2) as (listener, (ending, staying)):
            ending.listening.hand_over()
            assert ending.told == AWAY
            clients = _waiting(listener, 20)
            ending.listening.close()
            assert await _all_echo(clients)
            assert staying.told == 20

    run(main())


@BOTH
def test_the_last_one_takes_along_what_waits(run: Any, tmp_path: Path) -> None:
    async def main() -> None:
        async with _workers(tmp_path, 2) as (listener, (first, last)):
            first.listening.hand_over()
            last.listening.hand_over()
            clients = _waiting(listener, 20)
            first.listening.close()
            last.listening.close()
            assert await _all_echo(clients)

    run(main())


@BOTH
def test_one_killed_a_moment_ago_is_no_heir(run: Any, tmp_path: Path) -> None:
    async def main() -> None:
        async with _workers(tmp_path, 1) as (listener, (last,)):
            killed = _Worker(tmp_path)
            killed.seat.tell_connections(3)
            beats, index = killed.seats.beating(), killed.seat.index
            _let_go(killed.seat)
            assert index in beats
            last.listening.hand_over()
            clients = _waiting(listener, 5)
            last.listening.close()
            assert await _all_echo(clients)

    run(main())


def _let_go(seat: Seat) -> None:
    """Lose the seat's lock as a killed process does: without a word."""
    os.close(seat._lock)


@BOTH
def test_who_was_taken_along_and_says_nothing_is_not_waited_for(run: Any, tmp_path: Path) -> None:
    async def main() -> None:
        async with _workers(tmp_path, 1) as (listener, (last,)):
            last.listening.hand_over()
            silent = socket.create_connection(listener.getsockname(), _SOON)
            last.listening.close()
            assert await asyncio.to_thread(silent.recv, 1) == b""
            silent.close()

    run(main())


def test_a_loop_that_takes_no_other_server_serves_as_it_does(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class Closed:
        __slots__ = ()

        async def create_server(self) -> None: ...

    worker = _Worker(tmp_path)
    spread(worker.listening, Closed())  # type: ignore[arg-type]
    assert "not spread" in caplog.text
    assert worker.told == AWAY


def test_a_server_of_another_kind_is_left_to_the_loop(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        spread(_Worker(tmp_path).listening, loop)
        server = await loop.create_server(_Echo, "127.0.0.1", 0)
        pair = await _connect(server.sockets[0])
        assert await _echoes(pair)
        await _hang_up([pair])
        server.close()
        assert "not spread" in caplog.text
        assert "create_server" not in vars(loop)

    asyncio.run(main())
