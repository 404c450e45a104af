"""Messages on their way: streams, pictures and small calls keep no places from one another."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2

from api.access.guard import AccessGuard
from api.auth import AdminAuth
from api.grpc import errors, flow_control
from api.grpc.flow_control import ReceiveSlots
from api.protos import inference_pb2 as pb
from api.protos import predictor_pb2 as messages
from hotswap.errors import BadRequest, ServingError
from tests.api.grpc.calling import Code, ends
from tests.api.grpc.frames import message, wire
from tests.api.grpc.served import PREDICT, Served, served
from tests.hotswap.fakes import PATIENCE

pytestmark = pytest.mark.anyio

STREAM = "/okawari.v1.Predictor/PredictStream"
UNLOAD = "/inference.GRPCInferenceService/RepositoryModelUnload"
INFER = "/inference.GRPCInferenceService/ModelInfer"
#: Bytes that are held at most, by which there are two places for pictures, one for the rest.
TWO = 4_000_000


def camera(one: Served) -> Any:
    """A stream."""
    return one.channel.stream_stream(STREAM, None, messages.StreamReply.FromString)()


def frame(request_id: str = "") -> bytes:
    """What a camera sends."""
    sent = messages.PredictRequest(image=b"x", model="m", request_id=request_id)
    return bytes(sent.SerializeToString())


async def silent(one: Served, count: int) -> list[Any]:
    """Streams on which nothing is said, one begun after the other."""
    found = []
    for number in range(1, count + 1):
        found.append(camera(one))
        await one.until(lambda number=number: one.server._calls._parts.receiving.streams.inside == number)
    return found


# --- places --------------------------------------------------------------------------------------


async def test_streams_take_no_places_from_calls_nor_they_from_streams() -> None:
    async with served("m:v1", buffered=TWO) as one:
        idle = await silent(one, 2)
        assert (await one.predict()).model_version == "v1"
        slow = [one.slow(), one.slow()]
        await one.until(lambda: one.server._calls._parts.receiving.ones.taken == 2)
        await idle[0].write(frame())
        assert (await idle[0].read()).answer.model_version == "v1"
        for each in (*idle, *slow):
            each.cancel()
        await one.until(lambda: len(one.counted.calls) == 5)


async def test_who_asks_for_health_is_heard_whatever_pictures_are_on_their_way() -> None:
    async with served("m:v1", buffered=TWO) as one:
        one.server._calls._parts.receiving.ones = ReceiveSlots(2, patience=600.0)  # nobody gives way
        slow = [one.slow() for _ in range(9)]
        await one.until(lambda: one.server._calls._parts.receiving.ones.taken == 2)
        await one.health()
        await one.channel.unary_unary("/inference.GRPCInferenceService/ServerLive")(b"")
        await one.channel.unary_unary("/okawari.v1.Predictor/ListModels")(b"")
        assert not any(each.done() for each in slow)
        for each in slow:
            each.cancel()
        await one.until(lambda: len(one.counted.calls) == 12)


async def test_a_picture_is_no_small_call_whatever_it_is_asked_by() -> None:
    async with served("m:v1", buffered=TWO) as one:
        for method in (
            INFER,
            PREDICT,
            "/modelmora.v1.ModelInference/GenerateEmbedding",
            "/ModelInference/GenerateBatch",
            "/ModelInference/GenerateEmbeddingStream",
        ):
            call = one.slow(method)
            await one.until(lambda: one.server._calls._parts.receiving.ones.taken == 1)
            call.cancel()
            await one.until(lambda: one.server._calls._parts.receiving.ones.taken == 0)


async def test_more_cameras_than_places_are_all_answered() -> None:
    async with served("m:v1", buffered=TWO) as one:

        async def films() -> None:
            stream = camera(one)
            for _ in range(5):
                await stream.write(frame())
                assert (await stream.read()).answer.model_version == "v1"
            await stream.done_writing()
            assert await stream.read() is grpc.aio.EOF

        await asyncio.gather(*(films() for _ in range(20)))
        assert one.counted.codes() == ["OK"] * 20


async def test_cameras_that_say_nothing_for_long_stay_however_many_there_are() -> None:
    async with served("m:v1", buffered=TWO) as one:
        idle = await silent(one, 300)
        for _ in range(2):
            for each in idle:
                await each.write(frame())
            for each in idle:
                assert (await each.read()).answer.model_version == "v1"
        for each in idle:
            await each.done_writing()
            assert await each.read() is grpc.aio.EOF
        await one.until(lambda: one.counted.codes() == ["OK"] * 300)


async def test_of_streams_no_more_are_open_than_may_be_and_one_that_ends_makes_room() -> None:
    async with served("m:v1", capacity=1) as one:
        idle = await silent(one, 4)
        said = await ends(camera(one).read(), Code.RESOURCE_EXHAUSTED)
        assert "4 streams" in said
        assert "unary" in said
        assert (await one.predict()).model_version == "v1"
        await idle[0].done_writing()
        assert await idle[0].read() is grpc.aio.EOF
        await one.until(lambda: one.server._calls._parts.receiving.streams.inside == 3)
        another = camera(one)
        await another.write(frame())
        assert (await another.read()).answer.model_version == "v1"
        for each in (*idle, another):
            each.cancel()


async def test_a_frame_over_the_limit_of_streams_ends_the_stream_and_goes_by_a_unary_call() -> None:
    large = messages.PredictRequest(image=b"x" * 50_000, model="m").SerializeToString()
    async with served("m:v1", max_stream_message_bytes=50_000) as one:
        stream = camera(one)
        await stream.write(frame())
        await stream.write(large)
        assert (await stream.read()).answer.model_version == "v1"
        said = await ends(stream.read(), Code.RESOURCE_EXHAUSTED)
        assert f"may have 50000 bytes and this one has {len(large)}" in said
        assert "unary" in said
        assert "OKAWARI_MAX_STREAM_MESSAGE_BYTES" in said
        assert (await one.predict(b"x" * 50_000)).model_version == "v1"


async def test_a_picture_that_there_is_no_room_for_is_told_so_and_the_stream_goes_on() -> None:
    async with served("m:v1", buffered=TWO) as one:
        stream = camera(one)
        for filled in (0, TWO, 0):
            one.bodies.add(filled)
            await stream.write(frame("id"))
            reply = await stream.read()
            one.bodies.remove(filled)
            assert reply.request_id == "id"
            assert (reply.answer.model_version, reply.error.code) == (
                ("v1", "") if not filled else ("", "overloaded")
            )
            await one.until(lambda: one.bodies.held == 0)
        await stream.done_writing()
        assert await stream.read() is grpc.aio.EOF
        assert one.refused == ["overloaded"]


async def test_bytes_that_are_no_message_are_the_callers_fault_also_where_there_is_no_room() -> None:
    async with served("m:v1", buffered=TWO) as one, wire(one.port) as line:
        one.bodies.add(TWO)
        line.call(STREAM)
        line.send(message(b"\xff\xff"))
        await one.until(lambda: len(one.counted.calls) == 1)
        one.bodies.remove(TWO)
        assert one.counted.calls == [(STREAM, "INVALID_ARGUMENT")]


async def test_small_calls_are_small_so_that_who_watches_keeps_little() -> None:
    async with served("m:v1") as one:
        for method in ("/grpc.health.v1.Health/Watch", "/grpc.health.v1.Health/Check"):
            asks = health_pb2.HealthCheckRequest(service="x" * flow_control.MOST_SMALL).SerializeToString()
            call = one.channel.unary_stream(method)(asks)
            assert "65536 bytes" in await ends(call.read(), Code.RESOURCE_EXHAUSTED)
        assert one.bodies.peak == 0


# --- what no client sends ------------------------------------------------------------------------


@pytest.mark.parametrize("sent", ["Bearer wrong", "Bearer é", "Bearer 中", "Bearer 💥"])
async def test_an_admin_token_of_odd_bytes_is_wrong_and_no_fault_of_ours(sent: str) -> None:
    asked = pb.RepositoryModelUnloadRequest(model_name="m").SerializeToString()
    async with served("m:v1", auth=AccessGuard(AdminAuth("é", exposed=False))) as one:
        async with wire(one.port) as line:
            line.call(UNLOAD, {"authorization": sent.encode()})
            line.send(message(asked), end=True)
            await one.until(lambda: len(one.counted.calls) == 1)
        expected = "OK" if sent == "Bearer é" else "PERMISSION_DENIED"
        assert one.counted.calls == [(UNLOAD, expected)]


async def test_what_callers_send_as_metadata_is_in_no_log(caplog: pytest.LogCaptureFixture) -> None:
    async with served("m:v1") as one, wire(one.port) as line:
        line.call(PREDICT, {"authorization": b"Bearer secret\xff"})
        line.send(message(b""), end=True)
        await one.until(lambda: one.counted.codes() == ["INVALID_ARGUMENT"])
    assert "not UTF-8" in caplog.text
    assert "secret" not in caplog.text


@pytest.mark.parametrize("sent", [b"", b"\0", message(b"x", size=100), message(b"", compressed=7)])
async def test_a_call_that_ends_within_its_message_is_refused(sent: bytes) -> None:
    async with served("m:v1") as one, wire(one.port) as line:
        line.call(PREDICT)
        line.send(sent, end=True)
        await one.until(lambda: one.counted.calls == [(PREDICT, "INVALID_ARGUMENT")])


async def test_who_leaves_within_a_message_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flow_control, "_LEFT", PATIENCE)  # as long as the library likes to tell of it
    async with served("m:v1") as one:
        for method in (PREDICT, STREAM, "/grpc.health.v1.Health/Check"):
            async with wire(one.port) as line:
                line.call(method)
                line.send(message(b"x" * 10_000, size=1_000_000))
                parts = one.server._calls._parts.receiving
                await one.until(
                    lambda parts=parts: parts.ones.taken + parts.streams.inside + parts.small.taken == 1
                )
            await one.until(
                lambda parts=parts: parts.ones.taken + parts.streams.inside + parts.small.taken == 0
            )
        await one.until(lambda: len(one.counted.calls) == 3)
        first, stream, last = one.counted.codes()
        assert (first, last) == ("CANCELLED", "CANCELLED")
        # A stream's end may be told before its caller's, and nothing that came whole is left unanswered.
        assert stream in ("CANCELLED", "OK")


# --- what is told --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["x" * 100_000, "中" * 5_000], ids=["long", "odd"])
async def test_who_asks_for_a_model_with_an_endless_name_is_told_that_there_is_none(name: str) -> None:
    asked = pb.ModelInferRequest(model_name=name, inputs=[pb.ModelInferRequest.InferInputTensor(name="x")])
    asked.inputs[0].datatype = "BYTES"
    asked.inputs[0].shape.append(0)
    async with served("m:v1") as one:
        send = one.channel.unary_unary(INFER)
        assert len(await ends(send(asked.SerializeToString()), Code.INVALID_ARGUMENT)) < 200
        asked.inputs[0].shape[:] = [1]
        asked.inputs[0].contents.bytes_contents.append(b"x")
        assert len(await ends(send(asked.SerializeToString()), Code.NOT_FOUND)) < 200


async def test_a_long_story_is_told_as_far_as_clients_take_it() -> None:
    async with served("m:v1") as one:
        one.world.loader.of("v1").fails["predict"] = BadRequest("中" * 9_000)
        assert len(await ends(one.predict(), Code.INVALID_ARGUMENT)) == 667


def test_a_status_tells_no_more_than_clients_take() -> None:
    for odd, told in (("x" * 9_000, 2_001), ("中" * 9_000, 667), ("\udcff" * 3, 3), ("short", 5)):
        text = errors.text_of(ServingError(odd))
        assert len(text) == told
        assert len(text.encode()) <= errors.MOST_TEXT + 3
