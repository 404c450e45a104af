"""The Open Inference Protocol over gRPC: what big messages and answers count, and what is bounded."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import grpc
import numpy as np
import pytest

from api.grpc import call_handler, message_limits, open_inference, open_inference_codec
from api.grpc.flow_control import Taken
from api.protos import inference_pb2 as pb
from hotswap.errors import BadRequest
from tests.api.grpc.calling import ends, reached
from tests.api.grpc.frames import message, wire
from tests.api.grpc.served import PREDICT, Served, served

pytestmark = pytest.mark.anyio

Input = pb.ModelInferRequest.InferInputTensor
PARSE = message_limits.parser(pb.ModelInferRequest)
INFER = "/inference.GRPCInferenceService/ModelInfer"
Code = grpc.StatusCode


def asks(one: Served, request: pb.ModelInferRequest) -> grpc.aio.UnaryUnaryCall:
    """The call."""
    send = one.channel.unary_unary(
        INFER, pb.ModelInferRequest.SerializeToString, pb.ModelInferResponse.FromString
    )
    return send(request)


def rows(count: int, *, raw: bool) -> pb.ModelInferRequest:
    """So many rows for the fakes' graph; each gives one float."""
    values = np.zeros((count, 2), "<f4")
    about = Input(name="x", datatype="FP32", shape=values.shape)
    if raw:
        return pb.ModelInferRequest(model_name="m", inputs=[about], raw_input_contents=[values.tobytes()])
    about.contents.fp32_contents.extend(values.ravel().tolist())
    return pb.ModelInferRequest(model_name="m", inputs=[about])


@pytest.mark.parametrize("raw", [True, False], ids=["raw", "typed"])
async def test_big_tensors_come_and_go(raw: bool) -> None:
    async with served("m:v1") as one:
        answer = await asks(one, rows(40_000, raw=raw))
        if raw:
            assert len(answer.raw_output_contents[0]) == 160_000
        else:
            assert len(answer.outputs[0].contents.fp32_contents) == 40_000


async def test_typed_elements_count_as_what_they_take_here() -> None:
    async with served("m:v1", buffered=2_000_000) as one:
        assert await asks(one, rows(40_000, raw=True))
        said = await ends(asks(one, rows(100_000, raw=False)), Code.RESOURCE_EXHAUSTED)
        assert "too many" in said
        assert one.refused == ["overloaded"]


async def test_an_answer_for_which_there_is_no_room_is_refused() -> None:
    async with served("m:v1", buffered=2_000_000) as one:
        assert await asks(one, rows(160_000, raw=True))
        hold = one.holds()
        call = asks(one, rows(160_000, raw=True))
        await reached(hold)
        one.bodies.add(700_000)
        hold.let_go()
        await ends(call, Code.RESOURCE_EXHAUSTED)
        one.bodies.remove(700_000)


async def test_an_answer_counts_until_it_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(open_inference, "QUICK_BYTES", 0)
    asked, size = rows(1_000, raw=True).SerializeToString(), 4_000
    async with served("m:v1") as one, wire(one.port, window=0) as line:
        line.call(INFER)
        line.send(message(asked), end=True)
        await one.until(lambda: one.world.loader.of("v1").served == 1 and one.held()[:2] == (0, 0))
        assert (await one.predict()).model_version == "v1"
        assert one.bodies.held == len(asked) + size
        assert one.counted.calls == [(PREDICT, "OK")]
        line.take(2 * size)
        await one.until(lambda: one.bodies.held == 0)
        assert one.counted.calls[1:] == [(INFER, "OK")]


async def test_who_leaves_without_the_answer_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(open_inference, "QUICK_BYTES", 0)
    async with served("m:v1") as one:
        async with wire(one.port, window=0) as line:
            line.call(INFER)
            line.send(message(rows(1_000, raw=True).SerializeToString()), end=True)
            await one.until(lambda: one.bodies.held > 12_000)
        await one.until(lambda: one.counted.calls == [(INFER, "CANCELLED")])
        assert one.bodies.held == 0


async def test_an_answer_that_nobody_takes_is_let_go_with_the_requests_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(open_inference, "QUICK_BYTES", 0)
    # All has its time but the taking of the answer.
    monkeypatch.setattr(call_handler, "Taken", lambda call, seconds: Taken(call, seconds / 100))
    async with served("m:v1", request_timeout=30.0) as one, wire(one.port, window=0) as line:
        line.call(INFER)
        line.send(message(rows(1_000, raw=True).SerializeToString()), end=True)
        await one.until(lambda: one.counted.calls == [(INFER, "DEADLINE_EXCEEDED")])
        assert one.bodies.peak > 12_000
        assert one.bodies.held == 0


async def test_an_answer_that_finds_no_thread_to_be_written_in_is_late() -> None:
    threads, busy = ThreadPoolExecutor(1), Event()
    async with served("m:v1", request_timeout=0.5) as one:
        asyncio.get_running_loop().set_default_executor(threads)
        threads.submit(busy.wait)
        try:
            async with asyncio.timeout(20):
                assert "encoded" in await ends(asks(one, rows(40_000, raw=True)), Code.DEADLINE_EXCEEDED)
        finally:
            busy.set()
        assert one.refused == ["deadline_exceeded"]


async def test_a_request_that_is_read_in_a_thread_needs_a_place_as_any_other() -> None:
    async with served("m:v1", capacity=1) as one:
        hold = one.holds()
        first = asks(one, rows(1, raw=True))
        await reached(hold)
        assert "places" in await ends(asks(one, rows(40_000, raw=False)), Code.RESOURCE_EXHAUSTED)
        hold.let_go()
        await first


async def test_calls_that_are_open_are_bounded_too() -> None:
    async with served("m:v1", capacity=1) as one:
        watching = [one.slow() for _ in range(10)]
        await one.until(lambda: one.server._calls._parts.receiving.ones.taken == 10)
        assert "limit" in (await ends(one.predict(), Code.RESOURCE_EXHAUSTED)).lower()
        for call in watching:
            call.cancel()
        await one.until(lambda: one.counted.codes() == ["CANCELLED"] * 10)
        assert (await one.predict()).model_version == "v1"


async def test_messages_of_nothings_are_refused_before_they_grow() -> None:
    async with served("m:v1") as one:
        for method, more in (
            (INFER, b"\x2a\x00"),
            ("/ModelInference/GenerateEmbedding", b"\x22\x00"),
            (PREDICT, b"\x0a\x00"),
        ):
            send = one.channel.unary_unary(method)
            assert "the message has more than" in await ends(send(more * 900_000), Code.INVALID_ARGUMENT)


def within(number: int, inner: bytes) -> bytes:
    """A message with that field."""
    return (
        pb.ModelInferRequest(raw_input_contents=[inner])
        .SerializeToString()
        .replace(b"\x3a", bytes([number << 3 | 2]), 1)
    )


_NOTHINGS = 50_000
_GROWING = {
    "parameters": within(5, b"\x22\x00" * _NOTHINGS),
    "values": within(4, within(2, b"\x08\x00" * _NOTHINGS)),
    "loose shape": within(5, b"\x18\x01" * _NOTHINGS),
    "elements": within(5, within(5, b"\x42\x00" * _NOTHINGS)),
    "loose elements": within(5, within(5, b"\x10\x01" * _NOTHINGS)),
    "outputs": within(6, b"\x12\x00" * _NOTHINGS),
}


@pytest.mark.parametrize("raw", _GROWING.values(), ids=_GROWING)
def test_what_is_within_tensors_and_parameters_is_counted_before_it_grows(raw: bytes) -> None:
    assert pb.ModelInferRequest.FromString(raw).ByteSize() > 0
    with pytest.raises(BadRequest, match="more than 32768 fields"):
        PARSE(raw)


def test_packed_elements_are_as_many_as_there_are() -> None:
    contents = pb.InferTensorContents(uint64_contents=range(100_000), bool_contents=[True] * 100_000)
    raw = pb.ModelInferRequest(inputs=[Input(name="x", contents=contents)]).SerializeToString()
    (found,) = PARSE(raw).inputs
    assert (len(found.contents.uint64_contents), len(found.contents.bool_contents)) == (100_000, 100_000)


async def test_a_message_with_the_most_of_everything_is_read() -> None:
    most = range(256)
    asked = pb.ModelInferRequest(
        model_name="nobody",
        model_version="v1",
        id="i",
        inputs=[pb.ModelInferRequest.InferInputTensor(name=f"{each}", datatype="FP32") for each in most],
        outputs=[pb.ModelInferRequest.InferRequestedOutputTensor(name=f"{each}") for each in most],
        raw_input_contents=[bytes(4)] * 256,
        parameters={f"{each}": pb.InferParameter(bool_param=True) for each in most},
    )
    async with served("m:v1") as one:
        send = one.channel.unary_unary(INFER)
        await ends(send(asked.SerializeToString()), Code.NOT_FOUND)
    found = open_inference_codec.read(asked, request_id="r", deadline=0.0)
    assert (len(found.inputs), len(found.outputs), len(found.parameters)) == (256, 256, 256)


def test_of_a_shape_no_more_is_looked_at_than_it_takes_to_refuse_it(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []

    def count(_: str, shape: list[int]) -> int:
        seen.append(len(shape))
        raise BadRequest("shape")

    monkeypatch.setattr(open_inference_codec, "count", count)
    about = pb.ModelInferRequest.InferInputTensor(name="x", datatype="FP32", shape=[0] * 100_000)
    with pytest.raises(BadRequest):
        open_inference_codec.read(pb.ModelInferRequest(inputs=[about]), request_id="r", deadline=0.0)
    assert seen == [33]
