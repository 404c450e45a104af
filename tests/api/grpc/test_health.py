"""Health of the service and of each model, asked and watched."""

from __future__ import annotations

import grpc
import pytest
from grpc_health.v1 import health_pb2

from tests.api.grpc.calling import Code, ends
from tests.api.grpc.served import served

pytestmark = pytest.mark.anyio

WATCH, CHECK = "/grpc.health.v1.Health/Watch", "/grpc.health.v1.Health/Check"
State = health_pb2.HealthCheckResponse


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
