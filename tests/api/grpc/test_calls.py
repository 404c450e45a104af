"""What every call goes through: statuses, ids, figures, and time."""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import replace
from typing import Any

import grpc
import pytest

from api import context
from api import errors as wire
from api.grpc import errors
from api.grpc.server import Listen, RpcServer
from api.grpc.services import Services
from hotswap import errors as core
from hotswap.errors import ServingError
from tests.api.grpc.calling import Code, ends, reached
from tests.api.grpc.protocol import parts_of
from tests.api.grpc.served import PREDICT, Counted, served
from tests.hotswap.world import live

pytestmark = pytest.mark.anyio


def test_every_error_has_a_status_but_those_that_are_our_own_fault() -> None:
    kinds = {each for module in (core, wire) for each in vars(module).values() if isinstance(each, type)}
    without = {
        kind.__name__
        for kind in kinds
        if issubclass(kind, ServingError) and errors.status_of(kind("")) is Code.INTERNAL
    }
    assert without == {"ServingError", "ModelFailed"}


async def test_a_fault_of_the_service_tells_nothing_but_the_id_that_the_log_has(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with served("m:v1") as one:
        one.world.loader.of("v1").fails["predict"] = RuntimeError("a secret")
        with caplog.at_level(logging.ERROR, "bentoml.okawari.rpc"):
            call = one.predict(metadata=(("x-request-id", "look-here"),))
            message = await ends(call, Code.INTERNAL)
        assert "secret" not in message
        assert dict(await call.trailing_metadata()) == {
            "x-request-id": "look-here",
            "x-error-code": "internal_error",
        }
        assert "look-here" in caplog.text
        assert "a secret" in caplog.text
        await one.until(lambda: one.counted.calls == [(PREDICT, "INTERNAL")])


async def test_an_id_that_could_harm_a_log_is_replaced() -> None:
    async with served("m:v1") as one:
        call = one.predict(metadata=(("x-request-id", "a b{}"),))
        await call
        told = dict(await call.trailing_metadata())["x-request-id"]
        assert len(told) == 32
        assert told.isalnum()


async def test_calls_are_counted_by_method_and_code_and_methods_nobody_has_as_other() -> None:
    async with served("m:v1") as one:
        await one.predict()
        await ends(one.predict(model="nobody"), Code.NOT_FOUND)
        await one.until(lambda: len(one.counted.calls) == 2)  # the caller knows before it is counted
        for path in ("/okawari.v1.Predictor/Nothing", "/anybody/Anything"):
            await ends(one.channel.unary_unary(path)(b""), Code.UNIMPLEMENTED)
        assert one.counted.calls == [
            (PREDICT, "OK"),
            (PREDICT, "NOT_FOUND"),
            ("other", "UNIMPLEMENTED"),
            ("other", "UNIMPLEMENTED"),
        ]


async def test_the_callers_deadline_ends_the_wait_and_the_place_comes_back_with_the_thread() -> None:
    async with served("m:v1") as one:
        hold, calls = one.holds(), [one.predict(timeout=0.3)]
        while not one.world.loader.of("v1").running:
            if calls[-1].done():  # its time was over before it came to the model
                calls.append(one.predict(timeout=0.3))
            await asyncio.sleep(0.002)
        await ends(calls[-1], Code.DEADLINE_EXCEEDED)
        await one.until(lambda: one.counted.codes() == ["DEADLINE_EXCEEDED"] * len(calls))
        assert one.held()[:2] == (1, 1)
        hold.let_go()
        await one.until(lambda: one.held() == (0, 0, 0))


async def test_the_services_own_limit_holds_for_callers_without_a_deadline() -> None:
    async with served("m:v1", request_timeout=0.2) as one:
        hold = one.holds()
        assert "request's time" in await ends(one.predict(timeout=60), Code.DEADLINE_EXCEEDED)
        hold.let_go()


async def test_what_is_told_of_the_time_left_is_the_smaller_of_both_limits() -> None:
    left: list[float] = []

    async def behave(_: bytes, __: Any) -> bytes:
        left.append(context.current.get().deadline - time.monotonic())
        return await asyncio.Event().wait() or b""

    services = Services()
    method = grpc.unary_unary_rpc_method_handler(behave, request_deserializer=bytes)
    services.add([grpc.method_handlers_generic_handler("s", {"m": method})])
    with live() as world:
        counted = Counted()
        parts = replace(parts_of(world), metrics=counted, request_timeout=60.0)
        server = RpcServer(parts, Listen("127.0.0.1", 0), services)
        port = await server.start()
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            late = 0
            while not left:  # its time may be over before it is asked
                late += 1
                await ends(channel.unary_unary("/s/m")(b"", timeout=0.3), Code.DEADLINE_EXCEEDED)
                async with asyncio.timeout(20):
                    while len(counted.calls) < late:
                        await asyncio.sleep(0.01)
            endless = channel.unary_unary("/s/m")(b"")
            async with asyncio.timeout(20):
                while len(left) < 2:
                    await asyncio.sleep(0.01)
            endless.cancel()
        await server.stop()
    assert left[0] < 0.35  # the library rounds up; on a busy machine it is over when it is asked
    assert 50 < left[1] <= 60
    assert counted.calls == [*[("/s/m", "DEADLINE_EXCEEDED")] * late, ("/s/m", "CANCELLED")]


async def test_a_call_that_is_cancelled_gives_its_place_back() -> None:
    async with served("m:v1") as one:
        hold = one.holds()
        running = [one.predict() for _ in range(4)]
        for _ in running:
            await reached(hold)
        waiting = one.predict()
        await one.until(lambda: one.held()[0] == 5)
        waiting.cancel()
        await one.until(lambda: one.held()[0] == 4)
        for call in running:
            call.cancel()
        await one.until(lambda: one.counted.codes() == ["CANCELLED"] * 5)
        hold.let_go()


async def test_a_message_that_does_not_come_is_not_waited_for_longer_than_a_request() -> None:
    async with served("m:v1", request_timeout=0.2) as one:
        assert "arrive" in await ends(one.slow(), Code.DEADLINE_EXCEEDED)
        one.patient()
        assert (await one.predict()).model_version == "v1"


async def test_a_call_without_a_message_is_refused() -> None:
    async with served("m:v1") as one:
        call = one.slow()
        await call.done_writing()
        assert "without a message" in await ends(call, Code.INVALID_ARGUMENT)
