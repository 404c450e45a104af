"""The load generator against a server that does what the test says."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import closing

import pytest

from benchmarks.client import LoadGenerator, request

_OK = b"HTTP/1.1 200 OK\r\nx-model-version: v7\r\nContent-Length: 5\r\n\r\nhello"
_BUSY = b"HTTP/1.1 429 Too Many Requests\r\ncontent-length: 0\r\n\r\n"

Serve = Callable[[Callable[[int], bytes]], tuple[str, int]]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """A server that answers request number n of its life with `answer(n)`; b"" hangs up."""
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        counter = iter(range(10_000))

        def talk(connection: socket.socket, answer: Callable[[int], bytes]) -> None:
            with connection, connection.makefile("rb") as lines:
                while head := _head(lines.readline):
                    lines.read(int(head["content-length"]))
                    text = answer(next(counter))
                    if not text:
                        return
                    # In two pieces, as a network may cut it anywhere.
                    connection.sendall(text[:20])
                    connection.sendall(text[20:])

        def accept(answer: Callable[[int], bytes]) -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                threading.Thread(target=talk, args=(connection, answer), daemon=True).start()

        def start(answer: Callable[[int], bytes]) -> tuple[str, int]:
            threading.Thread(target=accept, args=(answer,), daemon=True).start()
            host, port = listener.getsockname()
            return host, port

        yield start
        listener.shutdown(socket.SHUT_RDWR)


def _head(line: Callable[[], bytes]) -> dict[str, str]:
    found: dict[str, str] = {}
    while text := line().decode().strip():
        name, _, value = text.partition(": ")
        found[name.lower()] = value
    return found


def _generator(address: tuple[str, int], concurrency: int) -> LoadGenerator:
    # More than a socket's buffer holds: the request goes out in pieces, too.
    return LoadGenerator(address, [request(*address, b"x" * 3_000_000)], concurrency)


def test_every_answer_is_counted_with_status_version_and_time(serve: Serve) -> None:
    generator = _generator(serve(lambda _: _OK), concurrency=3)
    load = generator.run(lambda: len(generator.done) >= 9)
    assert len(load.done) >= 9
    assert load.late <= 3
    assert load.failed == 0
    assert {(one.status, one.version) for one in load.done} == {(200, "v7")}
    assert all(one.ended >= one.begun for one in load.done)
    assert generator.latest == "v7"


@pytest.mark.slow
def test_refusals_and_hang_ups_are_failures(serve: Serve) -> None:
    answers = {2: _BUSY, 4: b""}
    generator = _generator(serve(lambda number: answers.get(number, _OK)), concurrency=1)
    load = generator.run(lambda: len(generator.done) >= 6)
    assert load.failed == 2
    assert [one.status for one in load.done].count(429) == 1
