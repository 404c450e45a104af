"""The port of the metrics: one of several has it, another takes it over; silent clients hold up nobody."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest

from telemetry.metrics_port import LONGEST_REQUEST, MOST_CONNECTIONS, MetricsPort

pytestmark = pytest.mark.anyio
HOST = "127.0.0.1"
GET = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"


def _free_port() -> int:
    with socket.create_server((HOST, 0)) as trial:
        return int(trial.getsockname()[1])


@asynccontextmanager
async def _listening(
    port: int, text: bytes = b"up 1\n", patience: float = 30.0
) -> AsyncIterator[MetricsPort]:
    metrics = MetricsPort(HOST, port, lambda: text, pause=0.01, patience=patience)
    metrics.start()
    await metrics.listens.wait()
    try:
        yield metrics
    finally:
        await metrics.stop()


async def _asked(port: int, request: bytes = GET) -> bytes:
    reader, writer = await asyncio.open_connection(HOST, port)
    writer.write(request)
    answer = await reader.read()
    writer.close()
    return answer


async def test_it_answers_with_the_text_of_the_metrics_and_ends_the_connection() -> None:
    port = _free_port()
    async with _listening(port):
        head, body = (await _asked(port)).split(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 ")
        assert b"Content-Type: text/plain; version=0.0.4" in head
        assert b"Content-Length: 5" in head
        assert body == b"up 1\n"
        assert (await _asked(port, GET.replace(b"GET", b"HEAD"))).endswith(b"\r\n\r\n")


@pytest.mark.parametrize(
    ("request_line", "status"),
    [
        (b"GET /metrics?name=x HTTP/1.0", 200),
        (b"GET /other HTTP/1.1", 404),
        (b"POST /metrics HTTP/1.1", 405),
        (b"nonsense", 400),
        (b"GET /metrics HTTP/2", 400),
    ],
)
async def test_only_the_metrics_are_there(request_line: bytes, status: int) -> None:
    port = _free_port()
    async with _listening(port):
        answer = await _asked(port, request_line + b"\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 %d " % status)


async def test_of_two_one_has_the_port_and_the_other_takes_it_over() -> None:
    port = _free_port()
    async with _listening(port, b"first"):
        second = MetricsPort(HOST, port, lambda: b"second", pause=0.01)
        second.start()
        assert (await _asked(port)).endswith(b"first")
        assert not second.listens.is_set()
    await second.listens.wait()
    assert (await _asked(port)).endswith(b"second")
    await second.stop()


async def test_port_0_is_none() -> None:
    metrics = MetricsPort(HOST, 0, lambda: b"")
    metrics.start()
    await asyncio.sleep(0)
    assert not metrics.listens.is_set()
    await metrics.stop()


async def test_silent_clients_are_bounded() -> None:
    port = _free_port()
    async with _listening(port):
        silent = [await asyncio.open_connection(HOST, port) for _ in range(MOST_CONNECTIONS)]
        with suppress(ConnectionResetError):
            assert await _asked(port) == b""
        for _, writer in silent:
            writer.close()
            await writer.wait_closed()
        while (answer := await _unless_refused(port)) == b"":
            await asyncio.sleep(0.01)
        assert answer.endswith(b"up 1\n")


async def _unless_refused(port: int) -> bytes:
    with suppress(ConnectionResetError):
        return await _asked(port)
    return b""


async def test_a_silent_client_has_only_so_much_time() -> None:
    port = _free_port()
    async with _listening(port, patience=0.05):
        reader, writer = await asyncio.open_connection(HOST, port)
        assert await reader.read() == b""
        writer.close()


async def test_a_request_without_end_is_cut_off() -> None:
    port = _free_port()
    async with _listening(port):
        reader, writer = await asyncio.open_connection(HOST, port)
        writer.write(b"GET /metrics HTTP/1.1\r\n" + b"x" * 2 * LONGEST_REQUEST)
        with suppress(ConnectionResetError):
            assert await reader.read() == b""
        writer.close()


async def test_its_end_closes_what_is_open() -> None:
    port = _free_port()
    async with _listening(port):
        reader, writer = await asyncio.open_connection(HOST, port)
        await asyncio.sleep(0.01)
    assert await reader.read() == b""
    writer.close()
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection(HOST, port)
