"""A camera's stream: answered in order, read no faster than answered, unharmed by bad pictures and swaps."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any, cast

import grpc
import pytest

from api.protos import predictor_pb2 as pb
from hotswap.errors import ShuttingDown
from tests.api.grpc.typed import Typed, picture, typed
from tests.hotswap.fakes import PATIENCE, Hold

pytestmark = pytest.mark.anyio


def begin(served: Typed) -> Any:
    """A stream."""
    return served.pictures.PredictStream()


async def replies(stream: Any, count: int) -> list[pb.StreamReply]:
    """The next ones."""
    return [await asyncio.wait_for(stream.read(), PATIENCE) for _ in range(count)]


async def test_each_picture_gets_its_answer_and_the_stream_ends_with_the_camera_s() -> None:
    async with typed("m:v1", codes={"v1": 5}) as served:

        async def camera() -> AsyncIterator[pb.PredictRequest]:
            for number in range(30):
                yield picture(f"{number}")

        call = served.pictures.PredictStream(camera())
        found = [each async for each in call]
        assert await call.code() is grpc.StatusCode.OK
    assert [each.request_id for each in found] == [f"{number}" for number in range(30)]
    assert all(each.answer.request_id == each.request_id for each in found)
    assert {each.answer.detections[0].label_id for each in found} == {5}


async def test_a_picture_that_fails_is_a_message_and_the_stream_goes_on() -> None:
    async with typed("m:v1", "mbad:bad") as served:
        served.world.loader.of("bad").fails["predict"] = ZeroDivisionError("secret")
        stream = begin(served)
        for sent in (
            picture("0"),
            picture("1", image=b""),
            picture("2", model="nobody"),
            picture("3", threshold=2.0),
            picture("4", model="mbad"),
            picture("5"),
        ):
            await stream.write(sent)
        found = await replies(stream, 6)
        await stream.done_writing()
        assert await stream.read() is grpc.aio.EOF
        assert await stream.code() is grpc.StatusCode.OK
    assert [each.request_id for each in found] == ["0", "1", "2", "3", "4", "5"]
    codes = [each.error.code for each in found]
    assert codes == ["", "invalid_argument", "model_not_found", "invalid_argument", "internal_error", ""]
    assert [each.WhichOneof("outcome") for each in (found[0], found[1])] == ["answer", "error"]
    assert "secret" not in found[4].error.message
    assert len(served.refused) == 3


async def test_answers_come_in_the_order_of_the_pictures() -> None:
    async with typed("m:v1", "mslow:held") as served:
        hold = served.world.loader.of("held").hold = Hold()
        stream = begin(served)
        await stream.write(picture("slow", model="mslow"))
        await stream.write(picture("quick"))
        await asyncio.to_thread(hold.reached)
        await served.until(lambda: served.world.loader.of("v1").served == 1)
        reading = asyncio.ensure_future(stream.read())
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.shield(reading), 0.05)
        hold.let_go()
        assert [(await reading).request_id, (await stream.read()).request_id] == ["slow", "quick"]
        stream.cancel()


async def test_the_service_reads_on_only_when_there_is_room() -> None:
    """8 pictures of a megabyte fit into no buffer on the way: the camera stands still."""
    big = bytes(1_000_000)
    async with typed("m:held", threads=8, in_flight=3) as served:
        runner = served.world.loader.of("held")
        runner.hold = Hold()
        stream = begin(served)
        sent = 0

        async def camera() -> None:
            nonlocal sent
            for number in range(8):
                await stream.write(picture(f"{number}", image=big))
                sent += 1
            await stream.done_writing()

        sending = asyncio.create_task(camera())
        for _ in range(3):
            await asyncio.to_thread(runner.hold.reached)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.shield(sending), 0.2)
        assert sent < 8
        assert served.held() == {"leases of m": 3, "places": 3}
        runner.hold.let_go()
        assert [each.request_id for each in await replies(stream, 8)] == [f"{number}" for number in range(8)]
        await sending
        assert runner.most_running == 3


async def test_a_swap_within_a_stream_loses_nothing_and_each_answer_names_who_gave_it() -> None:
    async with typed("m:v1", codes={"v1": 1, "v2": 2}) as served:
        stream = begin(served)
        await stream.write(picture("0"))
        (first,) = await replies(stream, 1)
        served.world.source.add("m:v2")
        await served.settled("m", "v2")
        await stream.write(picture("1"))
        (second,) = await replies(stream, 1)
        stream.cancel()
    for reply, version, generation in ((first, "v1", 1), (second, "v2", 2)):
        answer = reply.answer
        assert (answer.model_version, answer.generation) == (version, generation)
        assert f"v{answer.detections[0].label_id}" == version


async def test_a_picture_under_way_in_a_swap_is_answered_by_the_version_that_had_it() -> None:
    async with typed("m:held", codes={"held": 1, "v2": 2}) as served:
        old = served.world.loader.of("held")
        old.hold = Hold()
        stream = begin(served)
        await stream.write(picture("0"))
        await asyncio.to_thread(old.hold.reached)
        served.world.source.add("m:v2")
        await served.settled("m", "v2")
        await stream.write(picture("1"))
        old.hold.let_go()
        first, second = await replies(stream, 2)
        assert [first.answer.model_version, second.answer.model_version] == ["held", "v2"]
        await served.until(lambda: old.closed == 1)
        stream.cancel()


async def test_want_of_room_is_told_picture_by_picture() -> None:
    async with typed("m:held", capacity=2, threads=1) as served:
        runner = served.world.loader.of("held")
        runner.hold = Hold()
        stream = begin(served)
        for number in range(4):
            await stream.write(picture(f"{number}"))
        await served.until(lambda: len(served.refused) == 2)
        runner.hold.let_go()
        found = await replies(stream, 4)
        await stream.write(picture("4"))
        found += await replies(stream, 1)
        stream.cancel()
    assert [each.error.code for each in found] == ["", "", "overloaded", "overloaded", ""]


async def test_a_camera_that_leaves_gives_everything_back() -> None:
    async with typed("m:held", threads=1, in_flight=4) as served:
        runner = served.world.loader.of("held")
        runner.hold = Hold()
        stream = begin(served)
        for number in range(9):
            await stream.write(picture(f"{number}"))
        await asyncio.to_thread(runner.hold.reached)
        await served.until(lambda: served.world.pool.queued == 3)
        stream.cancel()
        await served.until(lambda: served.held() == {"leases of m": 1, "places": 1})
        runner.hold.let_go()
        await served.nothing_held()
        assert runner.served == 1


async def test_bytes_that_are_no_message_end_the_stream_after_the_answers_of_what_came_before() -> None:
    async with typed("m:v1") as served:
        raw = served.channel.stream_stream(
            "/okawari.v1.Predictor/PredictStream", None, pb.StreamReply.FromString
        )
        stream = raw()
        await stream.write(picture("0").SerializeToString())
        await stream.write(b"\xff\xff\xff")
        assert [each.request_id for each in await replies(stream, 1)] == ["0"]
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await stream.read()
        assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_when_the_service_ends_what_was_read_is_answered_and_the_camera_told_to_go_elsewhere() -> None:
    async with typed("m:held", in_flight=2) as served:
        runner = served.world.loader.of("held")
        runner.hold = Hold()
        stream, idle = begin(served), begin(served)
        for number in range(2):
            await stream.write(picture(f"{number}"))
            await asyncio.to_thread(runner.hold.reached)
        await served.until(lambda: served.cameras.streams == 2)
        served.server.drain()
        runner.hold.let_go()
        assert [each.request_id for each in await replies(stream, 2)] == ["0", "1"]
        for ended in (stream, idle):
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await asyncio.wait_for(ended.read(), PATIENCE)
            assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
            assert "open another stream" in (refused.value.details() or "")


async def test_a_stream_that_comes_while_the_service_begins_to_end_reads_nothing() -> None:
    read: list[int] = []

    async def camera(_: str) -> AsyncIterator[pb.PredictRequest]:
        read.append(1)
        yield picture()

    async with typed("m:v1") as served:
        served.cameras.drain()
        with pytest.raises(ShuttingDown, match="open another stream"):
            await served.cameras.predict_stream(
                cast(Any, SimpleNamespace(lenient=camera)), cast(Any, SimpleNamespace(write=None))
            )
    assert read == []
