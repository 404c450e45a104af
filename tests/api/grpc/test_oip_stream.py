"""`ModelStreamInfer`: answered in order, an error is a message, and nothing stays held."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import pytest

from api.protos import inference_pb2 as pb
from api.protos.inference_pb2_grpc import GRPCInferenceServiceStub
from tests.api.grpc.oip_client import Input, Output
from tests.api.grpc.served import Served, served
from tests.api.open_inference.asking import packed
from tests.hotswap.fakes import PATIENCE

pytestmark = pytest.mark.anyio

METHOD = "/inference.GRPCInferenceService/ModelStreamInfer"


def begin(found: Served) -> Any:
    """A stream."""
    stub: Any = GRPCInferenceServiceStub(found.channel)
    return stub.ModelStreamInfer()


def ask(name: str = "", *, model: str = "m", image: bytes = b"picture", **more: Any) -> pb.ModelInferRequest:
    """A request with one picture, raw."""
    about = Input(name="image", datatype="BYTES", shape=[1])
    return pb.ModelInferRequest(
        model_name=model, id=name, inputs=[about], raw_input_contents=[packed(image)], **more
    )


def typed(name: str, image: bytes = b"picture", **more: Any) -> pb.ModelInferRequest:
    """The same, typed."""
    contents = pb.InferTensorContents(bytes_contents=[image])
    about = Input(name="image", datatype="BYTES", shape=[1, 1], contents=contents)
    return pb.ModelInferRequest(model_name="m", id=name, inputs=[about], **more)


def wide(model: str = "m") -> pb.ModelInferRequest:
    """A request with so many typed elements that what is made of them is held."""
    many = pb.ModelInferRequest(model_name=model, inputs=[Input(name="x", datatype="FP32", shape=[20_000])])
    many.inputs[0].contents.fp32_contents.extend([0.5] * 20_000)
    return many


async def replies(stream: Any, count: int) -> list[pb.ModelStreamInferResponse]:
    """The next ones."""
    return [await asyncio.wait_for(stream.read(), PATIENCE) for _ in range(count)]


async def test_requests_are_answered_in_their_order_each_as_it_came() -> None:
    async with served("m:v1") as found:
        stream = begin(found)
        for number in range(20):
            name = f"{number}"
            await stream.write(typed(name) if number % 2 else ask(name))
        await stream.done_writing()
        told = [each async for each in stream]
        assert await stream.code() is grpc.StatusCode.OK
    assert [each.infer_response.id for each in told] == [f"{number}" for number in range(20)]
    assert {each.error_message for each in told} == {""}
    answers = [each.infer_response for each in told]
    assert {(each.model_name, each.model_version) for each in answers} == {("m", "v1")}
    assert all(each.parameters["triton_final_response"].bool_param for each in answers)
    assert all(each.parameters["digest"].string_param for each in answers)
    assert [bool(each.raw_output_contents) for each in answers] == [True, False] * 10


async def test_an_error_is_a_message_with_the_request_s_id_and_the_stream_goes_on() -> None:
    async with served("m:v1", "mbad:bad") as found:
        found.world.loader.of("bad").fails["predict"] = ZeroDivisionError("secret")
        stream = begin(found)
        wrong = [
            ask("1", model="nobody"),
            ask("2", image=b""),
            ask("3", model_version="v9"),
            ask("4", outputs=[Output(name="nothing")]),
            ask("5", model="mbad"),
            pb.ModelInferRequest(id="6", model_name="m"),
        ]
        final = pb.InferParameter(bool_param=True)
        right = [ask("0"), ask("7", parameters={"triton_enable_empty_final_response": final})]
        for each in (right[0], *wrong, right[1]):
            await stream.write(each)
        told = await replies(stream, 8)
        await stream.done_writing()
        assert await stream.read() is grpc.aio.EOF
        assert await stream.code() is grpc.StatusCode.OK
        await found.until(lambda: found.counted.calls == [(METHOD, "OK")])
    assert [each.infer_response.id for each in told] == [f"{number}" for number in range(8)]
    assert [bool(each.error_message) for each in told] == [False, *[True] * 6, False]
    assert [bool(each.infer_response.outputs) for each in told] == [True, *[False] * 6, True]
    assert all(each.infer_response.parameters["triton_final_response"].bool_param for each in told)
    assert "secret" not in told[5].error_message
    assert sorted(found.refused) == sorted(
        ["model_not_found", "version_not_found", *["invalid_argument"] * 3]
    )


async def test_a_swap_within_a_stream_loses_nothing_and_each_answer_names_who_gave_it() -> None:
    async with served("m:held") as found:
        old = found.holds("held")
        stream = begin(found)
        await stream.write(ask("0"))
        await asyncio.to_thread(old.reached)
        found.world.source.add("m:v2")
        await found.until(lambda: found.world.serving("m") == "v2")
        await stream.write(ask("1"))
        old.let_go()
        told = await replies(stream, 2)
        await stream.done_writing()
    assert [each.infer_response.id for each in told] == ["0", "1"]
    assert [each.infer_response.model_version for each in told] == ["held", "v2"]


async def test_no_more_are_under_way_than_one_stream_may_have() -> None:
    async with served("m:held") as found:
        runner = found.world.loader.of("held")
        hold = found.holds("held")
        stream = begin(found)
        for number in range(12):
            await stream.write(ask(f"{number}"))
        await asyncio.to_thread(hold.reached)
        await found.until(lambda: found.held()[0] == 8)
        hold.let_go()
        told = await replies(stream, 12)
        await stream.done_writing()
        assert runner.served == 12
    assert [each.infer_response.id for each in told] == [f"{number}" for number in range(12)]


async def test_what_is_made_of_a_request_is_held_until_its_own_answer_and_no_longer() -> None:
    """More than 16384 elements, typed, which take 16 bytes each while they are read."""
    many = wide()
    made = 16 * 20_000 + many.ByteSize()
    async with served("m:v1", buffered=made + 100_000) as found:
        stream = begin(found)
        for number in range(4):
            many.id = f"{number}"
            await stream.write(many)
            (told,) = await replies(stream, 1)
            assert told.infer_response.id == f"{number}"
            assert "bytes" not in told.error_message, told
            await found.until(lambda: found.bodies.held == 0)
        await stream.done_writing()


async def test_where_there_is_no_room_the_request_is_told_so_by_its_id() -> None:
    async with served("m:held", buffered=50_000) as found:
        hold = found.holds("held")
        stream = begin(found)
        await stream.write(ask("0", image=bytes(30_000)))
        await asyncio.to_thread(hold.reached)
        await stream.write(ask("1", image=bytes(30_000)))
        await found.until(lambda: found.refused == ["overloaded"])
        hold.let_go()
        told = await replies(stream, 2)
        await stream.write(ask("2", image=bytes(30_000)))
        told += await replies(stream, 1)
        await stream.done_writing()
    assert [each.infer_response.id for each in told] == ["0", "1", "2"]
    assert [bool(each.error_message) for each in told] == [False, True, False]


async def test_a_caller_who_leaves_gives_everything_back() -> None:
    async with served("m:held") as found:
        hold = found.holds("held")
        stream = begin(found)
        await stream.write(ask("0"))
        await asyncio.to_thread(hold.reached)
        # This one is refused at once, and its reply waits for its turn.
        await stream.write(wide("nobody"))
        await found.until(lambda: found.refused == ["model_not_found"])
        for number in range(9):
            await stream.write(ask(f"{number}"))
        stream.cancel()
        hold.let_go()
        await found.until(lambda: found.held() == (0, 0, 0))


async def test_when_the_service_ends_what_was_read_is_answered_and_the_caller_told() -> None:
    async with served("m:held") as found:
        hold = found.holds("held")
        stream = begin(found)
        await stream.write(ask("0"))
        await asyncio.to_thread(hold.reached)
        found.server.drain()
        hold.let_go()
        (told,) = await replies(stream, 1)
        assert told.infer_response.id == "0"
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await asyncio.wait_for(stream.read(), PATIENCE)
        assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
