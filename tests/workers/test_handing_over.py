"""A worker that ends leaves to the others who waits to be let in; the last one takes them along."""

from __future__ import annotations

import asyncio
import os
import socket
from pathlib import Path
from typing import Any

import pytest

from tests.workers.listeners import BOTH, SOON, Worker, workers
from workers.listener import AWAY
from workers.membership import WorkerSlot


def _waiting(listener: socket.socket, count: int) -> list[socket.socket]:
    """Connections that nobody has taken: the kernel answers connects by itself."""
    clients = [socket.create_connection(listener.getsockname(), SOON) for _ in range(count)]
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
        async with workers(tmp_path, 2) as (listener, (ending, staying)):
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
        async with workers(tmp_path, 2) as (listener, (first, last)):
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
        async with workers(tmp_path, 1) as (listener, (last,)):
            killed = Worker(tmp_path)
            killed.seat.tell_connections(3)
            beats, index = killed.seats.beating(), killed.seat.index
            _let_go(killed.seat)
            assert index in beats
            last.listening.hand_over()
            clients = _waiting(listener, 5)
            last.listening.close()
            assert await _all_echo(clients)

    run(main())


def _let_go(seat: WorkerSlot) -> None:
    """Lose the seat's lock as a killed process does: without a word."""
    os.close(seat._lock)


@BOTH
def test_who_was_taken_along_and_says_nothing_is_not_waited_for(
    run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.listener._LAST_WORDS", 0.05)

    async def main() -> None:
        async with workers(tmp_path, 1) as (listener, (last,)):
            last.listening.hand_over()
            silent = socket.create_connection(listener.getsockname(), SOON)
            last.listening.close()
            assert await asyncio.to_thread(silent.recv, 1) == b""
            silent.close()

    run(main())
