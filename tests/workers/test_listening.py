"""Two listeners on one socket, in one event loop or in two: who gets what, and what is told of it."""

from __future__ import annotations

import asyncio
import errno
import socket
import ssl
import time
from pathlib import Path
from typing import Any

import pytest

from tests.workers.listeners import BOTH, SOON, Echo, Worker, connect, echoes, hang_up, until, workers
from workers.listener import AWAY, PATIENCE, PAUSE, spread


@BOTH
def test_connections_are_told_from_their_beginning_to_their_end(run: Any, tmp_path: Path) -> None:
    async def main() -> None:
        async with workers(tmp_path, 1) as (listener, (worker,)):
            pairs = [await connect(listener) for _ in range(6)]
            await until(lambda: worker.told == 6)  # idle ones that never sent a byte, too
            assert all([await echoes(pair) for pair in pairs])
            pairs[0][1].close()
            pairs[1][1].transport.abort()
            await until(lambda: worker.told == 4)
            await hang_up(pairs)
            await until(lambda: worker.told == 0)

    run(main())


@BOTH
def test_a_handshake_that_fails_is_a_connection_that_has_ended(run: Any, tmp_path: Path) -> None:
    async def main() -> None:
        listener = socket.create_server(("127.0.0.1", 0))
        worker = Worker(tmp_path)
        await worker.open(listener, ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))
        _, writer = await connect(listener)
        await until(lambda: worker.told == 1)
        writer.write(b"this is not TLS\r\n\r\n")
        await until(lambda: worker.told == 0)
        writer.close()
        worker.end()
        listener.close()

    run(main())


@BOTH
@pytest.mark.parametrize("count", [2, 4])
def test_connections_that_come_at_once_are_spread(run: Any, tmp_path: Path, count: int) -> None:
    async def main() -> None:
        async with workers(tmp_path, count) as (listener, all_of_them):
            pairs = [await connect(listener) for _ in range(64)]
            await until(lambda: sum(worker.told for worker in all_of_them) == 64)
            assert [min(worker.told for worker in all_of_them) >= 64 // count // 2, len(pairs)] == [True, 64]

    run(main())


@BOTH
def test_what_was_left_to_one_that_hangs_is_answered_nevertheless(run: Any, tmp_path: Path) -> None:
    async def main() -> None:
        async with workers(tmp_path, 1) as (listener, (worker,)):
            hung = Worker(tmp_path)  # its heart beats, it has fewer connections, and it takes none
            hung.seat.tell_connections(0)
            hung.seat.start()
            pairs = [await connect(listener) for _ in range(20)]
            assert all([await echoes(pair) for pair in pairs])
            assert worker.told == 20
            hung.end()

    run(main())


@BOTH
def test_what_is_left_to_another_is_looked_at_after_pauses(run: Any, tmp_path: Path) -> None:
    async def main() -> None:
        async with workers(tmp_path, 1) as (listener, (worker,)):
            hung = Worker(tmp_path)
            hung.seat.tell_connections(0)
            hung.seat.start()
            assert await echoes(await connect(listener))
            begun = time.monotonic()
            assert await echoes(await connect(listener))
            assert time.monotonic() - begun > 0.8 * PATIENCE * PAUSE
            assert worker.told == 2
            hung.end()

    run(main())


@BOTH
def test_a_connection_that_cannot_be_taken_is_not_the_end_of_taking(
    run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.listener._NO_ROOM_PAUSE", 0.01)
    errors, accept = list[OSError](), socket.socket.accept

    def failing(listener: socket.socket) -> Any:
        if errors:
            raise errors.pop()
        return accept(listener)

    monkeypatch.setattr(socket.socket, "accept", failing)

    async def main() -> None:
        async with workers(tmp_path, 1) as (listener, (worker,)):
            hung = Worker(tmp_path)  # what is left to it is looked at after pauses, by nobody's call
            hung.seat.tell_connections(0)
            hung.seat.start()
            assert await echoes(await connect(listener))
            errors.append(OSError(errno.EPROTO, "Protocol error"))
            assert await echoes(await connect(listener))
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
        worker = Worker(tmp_path)
        worker.listening.open_on(loop, _impossible, listener, None, 10)
        with socket.create_connection(listener.getsockname(), SOON) as client:
            assert await asyncio.to_thread(client.recv, 1) == b""
        assert worker.told == 0
        assert "cannot be" in caplog.text
        worker.listening.close()
        worker.end()
        listener.close()

    run(main())


def _impossible() -> asyncio.Protocol:
    raise RuntimeError("cannot be")


def test_a_loop_that_takes_no_other_server_serves_as_it_does(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class Closed:
        __slots__ = ()

        async def create_server(self) -> None: ...

    worker = Worker(tmp_path)
    spread(worker.listening, Closed())  # type: ignore[arg-type]
    assert "not spread" in caplog.text
    assert worker.told == AWAY


def test_a_server_of_another_kind_is_left_to_the_loop(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        spread(Worker(tmp_path).listening, loop)
        server = await loop.create_server(Echo, "127.0.0.1", 0)
        pair = await connect(server.sockets[0])
        assert await echoes(pair)
        await hang_up([pair])
        server.close()
        assert "not spread" in caplog.text
        assert "create_server" not in vars(loop)

    asyncio.run(main())
