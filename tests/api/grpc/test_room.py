"""What every call goes through: room for it, and the bytes that it holds."""

from __future__ import annotations

import grpc
import pytest
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2

from api.grpc.flow_control import ReceiveSlots
from api.protos import predictor_pb2 as messages
from hotswap.errors import Overloaded
from tests.api.grpc.calling import Code, ends, reached
from tests.api.grpc.served import Served, served

pytestmark = pytest.mark.anyio

CHECK = "/grpc.health.v1.Health/Check"
FILM = "/okawari.v1.Predictor/PredictStream"
REFLECTION = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
State = health_pb2.HealthCheckResponse


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


async def test_who_watches_or_films_leaves_room_for_who_asks() -> None:
    async with served("m:v1", capacity=1) as one:
        watch = one.channel.unary_stream("/grpc.health.v1.Health/Watch", None, State.FromString)
        film = one.channel.stream_stream(FILM, None, messages.StreamReply.FromString)
        lasting = [watch(b"") for _ in range(7)]
        for each in lasting:
            assert (await each.read()).status == State.SERVING
        lasting.append(film())
        await one.until(lambda: one.server._calls._parts.receiving.streams.inside == 1)
        for number, another in enumerate((watch(b""), film()), 1):
            assert "8 places" in await ends(another.read(), Code.RESOURCE_EXHAUSTED)
            await one.until(lambda number=number: len(one.counted.calls) >= number)  # it is open till then
        assert (await one.predict()).model_version == "v1"
        lasting.pop().cancel()
        await one.until(lambda: one.server._calls._parts.lasting.inside == 7)
        lasting.append(watch(b""))
        assert (await lasting[-1].read()).status == State.SERVING
        for each in lasting:
            each.cancel()


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


async def test_of_those_who_send_slowly_half_the_places_are_kept_for_the_whole_time() -> None:
    async with served("m:v1", buffered=4_000_000) as one:
        one.server._calls._parts.receiving.ones = ReceiveSlots(2, patience=0.05)
        slow = one.slow()
        await one.until(lambda: _reading(one) == 1)
        refused = one.slow()
        assert (await one.predict()).model_version == "v1"
        assert "arrive slowly" in await ends(refused, Code.RESOURCE_EXHAUSTED)
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
