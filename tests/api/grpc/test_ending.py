"""Where the server listens, and how it ends."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2

from api.grpc.server import CannotListen, Listen, RpcServer, check_free
from tests.api.grpc.calling import Code, reached
from tests.api.grpc.protocol import parts_of
from tests.api.grpc.served import served
from tests.hotswap.world import live

pytestmark = pytest.mark.anyio

CHECK = "/grpc.health.v1.Health/Check"
REFLECTION = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
State = health_pb2.HealthCheckResponse


async def test_at_the_end_calls_that_were_sent_are_answered_and_later_ones_go_elsewhere() -> None:
    async with served("m:v1") as one:
        hold = one.holds()
        running = one.predict()
        await reached(hold)
        stopping = asyncio.create_task(one.server.stop())
        late = [asyncio.create_task(_code(one.predict())) for _ in range(4)]
        async with asyncio.timeout(20):
            while await _code(one.health()) is Code.OK:
                await asyncio.sleep(0.01)
        assert not stopping.done()
        hold.let_go()
        assert (await running).model_version == "v1"
        assert await asyncio.gather(*late) == [Code.OK] * 4
        await stopping
        assert await _code(one.health()) is Code.UNAVAILABLE


async def _code(call: Any) -> grpc.StatusCode:
    return await call.code()


async def test_at_the_end_nobody_waits_for_streams_on_which_nothing_is_said() -> None:
    async with served("m:v1") as one:
        talk = one.channel.stream_stream(
            REFLECTION, response_deserializer=reflection_pb2.ServerReflectionResponse.FromString
        )()
        question = reflection_pb2.ServerReflectionRequest(list_services="")
        await talk.write(question.SerializeToString())
        await talk.read()
        await one.server.stop()
        assert await talk.read() is grpc.aio.EOF
        assert await talk.code() is Code.OK


async def test_a_port_that_another_process_has_is_told_with_its_number() -> None:
    with live() as world:
        first = RpcServer(parts_of(world), Listen("127.0.0.1", 0))
        port = await first.start()
        second = RpcServer(parts_of(world), Listen("127.0.0.1", port))
        with pytest.raises(CannotListen, match=f"127.0.0.1:{port}: Address already in use; set GRPC_PORT"):
            await second.start()
        await first.stop()


async def test_workers_of_one_service_share_the_port() -> None:
    with live() as world:
        first = RpcServer(parts_of(world), Listen("127.0.0.1", 0, shared=True))
        port = await first.start()
        second = RpcServer(parts_of(world), Listen("127.0.0.1", port, shared=True))
        assert await second.start() == port
        await first.stop()
        await second.stop()


async def test_the_address_may_be_of_either_kind() -> None:
    assert Listen("::1", 5).address == "[::1]:5"
    with live() as world:
        server = RpcServer(parts_of(world), Listen("::1", 0))
        port = await server.start()
        async with grpc.aio.insecure_channel(f"[::1]:{port}") as channel:
            check = channel.unary_unary(CHECK, response_deserializer=State.FromString)
            assert (await check(b"")).status == State.NOT_SERVING
        await server.stop()


async def test_a_port_that_is_no_number_of_one_is_told_as_others_are() -> None:
    with pytest.raises(CannotListen, match=r"0-65535\.; set GRPC_PORT"):
        check_free(Listen("127.0.0.1", 70_000))
