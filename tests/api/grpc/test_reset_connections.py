"""With the retry policy of chapter 6 every call is answered, also where a first connection is reset."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

import grpc
import pytest

from tests.api.grpc.served import served
from tests.e2e.rpc_load import documented_policy

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(60)]

CHECK = "/grpc.health.v1.Health/Check"
CHANNELS = 12
#: Seconds until a client library connects again, with its jitter, and as much for a busy machine.
SOON = 10.0
_RESET_AT_CLOSE = struct.pack("ii", 1, 0)


@dataclass
class Front:
    """A proxy that resets its first connection, as a closing socket does, and passes on the others."""

    behind: int
    port: int = 0
    connections: int = 0

    async def take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        self.connections += 1
        if self.connections == 1:
            caller: socket.socket = writer.get_extra_info("socket")
            caller.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_AT_CLOSE)
            writer.close()
            return
        upstream, to = await asyncio.open_connection("127.0.0.1", self.behind)
        await asyncio.gather(_pass(reader, to), _pass(upstream, writer))


async def _pass(source: asyncio.StreamReader, to: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while data := await source.read(65_536):
            to.write(data)
            await to.drain()
    to.close()


@asynccontextmanager
async def front(behind: int) -> AsyncIterator[Front]:
    """A front of its own for one channel."""
    made = Front(behind)
    server = await asyncio.start_server(made.take, "127.0.0.1", 0)
    async with server:
        made.port = server.sockets[0].getsockname()[1]
        yield made


async def ask(behind: int, policy: str | None) -> tuple[grpc.StatusCode, int]:
    """What one call on a fresh channel ends with, and how many connections it took."""
    options = [("grpc.use_local_subchannel_pool", 1), ("grpc.enable_http_proxy", 0)]
    more = [] if policy is None else [("grpc.service_config", policy)]
    async with front(behind) as before:
        address = f"127.0.0.1:{before.port}"
        async with grpc.aio.insecure_channel(address, options=[*options, *more]) as channel:
            code = await channel.unary_unary(CHECK)(b"", timeout=SOON).code()
    return code, before.connections


async def test_with_the_documented_policy_every_call_is_answered() -> None:
    async with served("m:v1") as one:
        found = await asyncio.gather(*(ask(one.port, documented_policy()) for _ in range(CHANNELS)))
    assert found == [(grpc.StatusCode.OK, 2)] * CHANNELS


async def test_without_it_the_reset_is_what_the_caller_sees() -> None:
    """Otherwise the front proves nothing."""
    async with served("m:v1") as one:
        code, connections = await ask(one.port, None)
    assert code is grpc.StatusCode.UNAVAILABLE
    assert connections == 1
