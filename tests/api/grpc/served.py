"""A gRPC server with every service over a world of fakes, and what a test looks at."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import grpc

from api.budget import ByteBudget
from api.grpc.server import Listen, RpcServer
from api.protos import predictor_pb2 as messages
from hotswap.errors import ServingError
from tests.api.grpc.protocol import parts_of
from tests.hotswap.fakes import PATIENCE, Hold
from tests.hotswap.world import LiveWorld, live

PREDICT = "/okawari.v1.Predictor/Predict"


@dataclass
class Counted:
    """Notes every call that has ended."""

    calls: list[tuple[str, str]] = field(default_factory=list)

    def called(self, method: str, code: str, seconds: float) -> None:
        """See `RpcObserver`."""
        assert seconds >= 0
        self.calls.append((method, code))

    def codes(self) -> list[str]:
        """The codes alone."""
        return [code for _, code in self.calls]


@dataclass
class Served:
    """What a test talks to, and looks into."""

    world: LiveWorld
    server: RpcServer
    port: int
    channel: grpc.aio.Channel
    counted: Counted
    bodies: ByteBudget
    refused: list[str]

    def predict(self, image: bytes = b"picture", model: str = "m", **more: Any) -> Any:
        """Ask about one picture; the call."""
        send = self.channel.unary_unary(
            PREDICT, messages.PredictRequest.SerializeToString, messages.PredictResponse.FromString
        )
        return send(messages.PredictRequest(image=image, model=model), **more)

    def health(self) -> Any:
        """Ask for the health of the whole; the call."""
        return self.channel.unary_unary("/grpc.health.v1.Health/Check")(b"")

    def slow(self, method: str = PREDICT) -> Any:
        """A call whose message does not come yet: to the server it looks like any other."""
        return self.channel.stream_unary(method)()

    def holds(self, version: str = "v1") -> Hold:
        """From now on the model stops in its thread until it is let go."""
        hold = self.world.loader.of(version).hold = Hold()
        return hold

    async def until(self, holds: Callable[[], bool]) -> None:
        """Wait until it is so; the reconciler looks again and again."""
        async with asyncio.timeout(PATIENCE):
            while not holds():
                self.world.reconciler.wake()
                await asyncio.sleep(0.002)

    def patient(self) -> None:
        """From now on calls have time, whatever `request_timeout` was."""
        self.server._calls._parts = replace(self.server._calls._parts, seconds=30.0)

    def held(self) -> tuple[int, int, int]:
        """Places, leases and bytes that are held."""
        leases = sum(each.leases for slot in self.world.reconciler.observed.slots.values() for each in slot)
        return self.world.data_plane.admission.inside, leases, self.bodies.held


@asynccontextmanager
async def served(
    *tags: str, capacity: int = 100, buffered: int = 100_000_000, **more: Any
) -> AsyncIterator[Served]:
    """A server over a world where each model serves the last of its tags. Nothing is held afterwards."""
    with live(*tags, capacity=capacity) as world:
        refused: list[str] = []

        def refuse(_: str, __: str | None, error: ServingError, ___: float) -> None:
            refused.append(error.code)

        counted, bodies = Counted(), ByteBudget(buffered)
        parts = replace(parts_of(world, refuse=refuse), metrics=counted, bodies=bodies, **more)
        server = RpcServer(parts, Listen("127.0.0.1", 0))
        port = await server.start()
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            found = Served(world, server, port, channel, counted, bodies, refused)
            for tag in tags:
                name, _, version = tag.partition(":")
                await found.until(lambda name=name, version=version: world.serving(name) == version)
            try:
                yield found
                await found.until(lambda: found.held() == (0, 0, 0))
            finally:
                for hold in world.loader.holds.values():
                    hold.let_go()
                await server.stop()
