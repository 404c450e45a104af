"""Callers who leave while something is being sent to them."""

from __future__ import annotations

import asyncio
import gzip
import logging
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import grpc
import pytest

from api import context
from api.grpc import call_handler
from api.grpc.server import Listen, RpcServer
from api.grpc.services import Services
from hotswap.errors import DeadlineExceeded
from tests.api.grpc.frames import message, wire
from tests.api.grpc.protocol import parts_of
from tests.api.grpc.served import Counted, served
from tests.hotswap.fakes import PATIENCE
from tests.hotswap.world import live

pytestmark = pytest.mark.anyio

STREAM = "/okawari.v1.Predictor/PredictStream"


async def test_who_has_left_is_counted_as_such_and_is_no_fault_of_ours(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The library tells of the caller's end here, and what is sent then fails."""
    begun, tried = asyncio.Event(), asyncio.Event()

    async def behave(_: bytes, call: Any) -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            try:
                await call.write(b"message")
            finally:
                tried.set()

    services = Services()
    method = grpc.unary_stream_rpc_method_handler(behave, request_deserializer=bytes)
    services.add([grpc.method_handlers_generic_handler("s", {"m": method})])
    with live() as world:
        counted = Counted()
        server = RpcServer(replace(parts_of(world), metrics=counted), Listen("127.0.0.1", 0), services)
        port = await server.start()
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            call = channel.unary_stream("/s/m")(b"")
            async with asyncio.timeout(PATIENCE):
                await begun.wait()
                with caplog.at_level(logging.WARNING):
                    call.cancel()
                    await tried.wait()
                    while not counted.calls:
                        await asyncio.sleep(0.002)
        await server.stop()
    assert counted.calls == [("/s/m", "CANCELLED")]
    assert caplog.records == []


@pytest.mark.parametrize("method", ["/okawari.v1.Predictor/PredictStream", "/okawari.v1.Predictor/Predict"])
async def test_a_message_that_expands_beyond_the_limit_ends_the_call_and_nothing_else(
    method: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The library refuses it by itself and before it has expanded; here it looks like a caller who left."""
    async with served("m:v1") as one, wire(one.port) as line:
        with caplog.at_level(logging.WARNING):
            line.call(method, {"grpc-encoding": b"gzip"})
            line.send(message(gzip.compress(bytes(20_000_000)), compressed=1))
            await one.until(lambda: len(one.counted.calls) == 1)
        # A stream's end may be told before its caller's.
        codes = ("CANCELLED", "OK") if method == STREAM else ("CANCELLED",)
        assert one.counted.calls in [[(method, code)] for code in codes]
        assert one.bodies.peak == 0
        assert caplog.records == []
        assert (await one.predict()).model_version == "v1"


class _Ended:
    """A call that the library has ended a moment ago, and not told us."""

    async def abort(self, *_: Any) -> None:
        raise grpc.aio.InternalError("Failed 'execute_batch'")


async def test_a_status_that_comes_too_late_is_no_error_of_the_library() -> None:
    """One in some hundred deadlines; the library then logs a trace, unless the call was cancelled."""
    context.current.set(context.RequestContext("r", 0.0))
    with pytest.raises(asyncio.CancelledError):
        await call_handler._refuse(_Ended(), DeadlineExceeded("too late"))


@pytest.fixture
async def patient() -> AsyncIterator[tuple[int, Counted]]:
    """A server that asks for signs of life every second: its port, and its calls that have ended."""
    with live("m:v1") as world:
        counted = Counted()
        server = RpcServer(replace(parts_of(world), metrics=counted), Listen("127.0.0.1", 0, patience=1.0))
        yield await server.start(), counted
        await server.stop()


async def test_who_vanishes_within_a_stream_keeps_nothing_and_who_is_silent_stays(
    patient: tuple[int, Counted],
) -> None:
    port, counted = patient
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel, wire(port) as vanished:
        idle = channel.stream_stream(STREAM)()
        vanished.call(STREAM)  # it answers no ping
        vanished.send(message(bytes(1_000), size=100_000))
        async with asyncio.timeout(PATIENCE):
            while not counted.calls:
                await asyncio.sleep(0.01)
        # A stream's end may be told before its caller's.
        assert counted.codes() in (["CANCELLED"], ["OK"])
        assert not idle.done()
        await idle.done_writing()
        assert await idle.read() is grpc.aio.EOF
