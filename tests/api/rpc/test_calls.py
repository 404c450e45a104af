"""What every call goes through: deadlines, limits, statuses, figures, and the end of the server."""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import replace
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2

from api import context
from api import errors as wire
from api.protos import predictor_pb2 as messages
from api.rpc import errors, places
from api.rpc.server import CannotListen, Listen, RpcServer
from api.rpc.services import Services
from hotswap import errors as core
from hotswap.errors import Overloaded, ServingError
from tests.api.rpc.served import PREDICT, Counted, Served, served
from tests.api.rpc.typed import parts_of
from tests.hotswap.world import live

pytestmark = pytest.mark.anyio

Code = grpc.StatusCode
WATCH, CHECK = "/grpc.health.v1.Health/Watch", "/grpc.health.v1.Health/Check"
REFLECTION = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
State = health_pb2.HealthCheckResponse


async def ends(call: Any, code: grpc.StatusCode) -> str:
    """Assert that a call ends with this code; the message."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    assert caught.value.code() is code, caught.value
    return str(caught.value.details())


async def reached(hold: Any) -> None:
    """Wait until a thread has stopped there."""
    await asyncio.to_thread(hold.reached)


# --- statuses ------------------------------------------------------------------------------------


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
        assert one.counted.calls == [(PREDICT, "INTERNAL")]


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
        for path in ("/okawari.v1.Predictor/Nothing", "/anybody/Anything"):
            await ends(one.channel.unary_unary(path)(b""), Code.UNIMPLEMENTED)
        assert one.counted.calls == [
            (PREDICT, "OK"),
            (PREDICT, "NOT_FOUND"),
            ("other", "UNIMPLEMENTED"),
            ("other", "UNIMPLEMENTED"),
        ]


# --- time ----------------------------------------------------------------------------------------


async def test_the_callers_deadline_ends_the_wait_and_the_place_comes_back_with_the_thread() -> None:
    async with served("m:v1") as one:
        hold = one.holds()
        call = one.predict(timeout=0.3)
        await reached(hold)
        await ends(call, Code.DEADLINE_EXCEEDED)
        await one.until(lambda: one.counted.codes() == ["DEADLINE_EXCEEDED"])
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
        parts = replace(parts_of(world), observer=counted, request_timeout=60.0)
        server = RpcServer(parts, Listen("127.0.0.1", 0), services)
        port = await server.start()
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            await ends(channel.unary_unary("/s/m")(b"", timeout=0.3), Code.DEADLINE_EXCEEDED)
            async with asyncio.timeout(5):
                while not counted.calls:
                    await asyncio.sleep(0.01)
            endless = channel.unary_unary("/s/m")(b"")
            async with asyncio.timeout(5):
                while len(left) < 2:
                    await asyncio.sleep(0.01)
            endless.cancel()
        await server.stop()
    assert 0 < left[0] <= 0.3
    assert 50 < left[1] <= 60
    assert counted.calls == [("/s/m", "DEADLINE_EXCEEDED"), ("/s/m", "CANCELLED")]


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
        assert (await one.predict()).model_version == "v1"


async def test_a_call_without_a_message_is_refused() -> None:
    async with served("m:v1") as one:
        call = one.slow()
        await call.done_writing()
        assert "without a message" in await ends(call, Code.INVALID_ARGUMENT)


# --- room ----------------------------------------------------------------------------------------


async def test_where_no_place_is_free_a_call_is_refused_before_its_message_is_received() -> None:
    def full() -> None:
        raise Overloaded("all places are taken")

    async with served("m:v1", check_room=full) as one:
        assert "taken" in await ends(one.slow(), Code.RESOURCE_EXHAUSTED)
        check = one.channel.unary_unary(CHECK, response_deserializer=State.FromString)
        assert (await check(b"")).status == State.SERVING


async def test_admission_is_that_of_all_wires() -> None:
    async with served("m:v1", capacity=1) as one:
        hold = one.holds()
        first = one.predict()
        await reached(hold)
        assert "places" in await ends(one.predict(), Code.RESOURCE_EXHAUSTED)
        hold.let_go()
        assert (await first).model_version == "v1"
        assert one.refused == ["overloaded"]


async def test_bytes_of_messages_count_until_their_calls_end() -> None:
    async with served("m:v1", buffered=3_000_000) as one:
        hold = one.holds()
        first = one.predict(b"x" * 1_900_000)
        await reached(hold)
        assert 1_900_000 < one.bodies.held < 1_900_100
        assert "too many" in await ends(one.predict(b"x" * 1_900_000), Code.RESOURCE_EXHAUSTED)
        second = one.predict(b"x" * 900_000)
        await reached(hold)
        hold.let_go()
        await first
        await second
        assert one.held() == (0, 0, 0)


@pytest.mark.parametrize("size", [2_000_100, 5_000_000])
async def test_a_message_over_the_limit_is_refused(size: int) -> None:
    async with served("m:v1") as one:
        await ends(one.predict(b"x" * size), Code.RESOURCE_EXHAUSTED)
        assert one.held() == (0, 0, 0)


async def test_who_sends_slowly_gives_way_to_those_who_wait_for_the_place(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(places, "PATIENCE", 0.1)
    async with served("m:v1", buffered=2_000_000) as one:
        slow = one.slow()
        await one.until(lambda: _reading(one) == 1)
        await one.predict()
        assert "slowly" in await ends(slow, Code.RESOURCE_EXHAUSTED)


async def test_who_sends_slowly_and_keeps_nobody_waiting_has_the_whole_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(places, "PATIENCE", 0.0)
    async with served("m:v1", buffered=4_000_000) as one:
        slow = one.slow()
        await one.until(lambda: _reading(one) == 1)
        await one.predict()
        await slow.write(messages.PredictRequest(image=b"x", model="m").SerializeToString())
        await slow.done_writing()
        answer = messages.PredictResponse.FromString(await slow)
        assert answer.model_version == "v1"


def _reading(one: Served) -> int:
    return one.server._calls._parts.receiving.ones.taken


async def test_a_stream_holds_what_is_under_way_and_nothing_that_is_answered() -> None:
    async with served("m:v1") as one:
        stream = one.channel.stream_stream("/okawari.v1.Predictor/PredictStream")()
        message = messages.PredictRequest(image=b"x" * 100_000, model="m").SerializeToString()
        for _ in range(3):
            await stream.write(message)
            await stream.read()
            await one.until(lambda: one.bodies.held == 0)
        hold = one.holds()
        for _ in range(3):
            await stream.write(message)
            await reached(hold)
        assert one.bodies.held == 3 * len(message)
        hold.let_go()
        for _ in range(3):
            await stream.read()
        await one.until(lambda: one.bodies.held == 0)
        await stream.done_writing()
        assert await stream.read() is grpc.aio.EOF


async def test_questions_of_reflection_are_held_no_longer_than_their_answers_take() -> None:
    async with served() as one:
        talk = one.channel.stream_stream(REFLECTION)()
        for _ in range(3):
            await talk.write(
                reflection_pb2.ServerReflectionRequest(list_services="x" * 999).SerializeToString()
            )
            await talk.read()
            await one.until(lambda: one.bodies.held == 0)
        await talk.done_writing()
        assert await talk.read() is grpc.aio.EOF


# --- health --------------------------------------------------------------------------------------


def _asks(name: str) -> bytes:
    return bytes(health_pb2.HealthCheckRequest(service=name).SerializeToString())


async def test_g8_health_tells_of_the_service_its_services_and_each_model() -> None:
    async with served("m:v1") as one:
        check = one.channel.unary_unary(CHECK, response_deserializer=State.FromString)
        for name in ("", "m", "inference.GRPCInferenceService", "okawari.v1.Predictor", "ModelInference"):
            assert (await check(_asks(name))).status == State.SERVING, name
        await ends(check(_asks("nobody")), Code.NOT_FOUND)
        await one.world.control.unload("m", "test", 5)
        for name in ("", "m", "inference.GRPCInferenceService"):
            assert (await check(_asks(name))).status == State.NOT_SERVING, name


async def test_g8_who_watches_is_told_of_every_change_and_of_the_end() -> None:
    async with served("m:v1", "n:v1") as one:
        watch = one.channel.unary_stream(WATCH, response_deserializer=State.FromString)
        model, whole, nobody = watch(_asks("m")), watch(_asks("")), watch(_asks("late"))
        assert [(await each.read()).status for each in (model, whole, nobody)] == [
            State.SERVING,
            State.SERVING,
            State.SERVICE_UNKNOWN,
        ]
        await one.world.control.unload("m", "test", 5)
        assert (await model.read()).status == State.NOT_SERVING
        await one.world.control.load("m", "test", 5)
        assert (await model.read()).status == State.SERVING
        one.world.source.add("late:v1")
        one.world.reconciler.wake()
        first = (await nobody.read()).status
        assert first == State.SERVING or (await nobody.read()).status == State.SERVING
        one.server.drain()
        for each in (model, whole, nobody):
            assert (await each.read()).status == State.NOT_SERVING
            assert await each.read() is grpc.aio.EOF


# --- the end -------------------------------------------------------------------------------------


async def test_at_the_end_calls_that_were_sent_are_answered_and_later_ones_go_elsewhere() -> None:
    async with served("m:v1") as one:
        hold = one.holds()
        running = one.predict()
        await reached(hold)
        stopping = asyncio.create_task(one.server.stop())
        late = [asyncio.create_task(_code(one.predict())) for _ in range(4)]
        async with asyncio.timeout(5):
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
