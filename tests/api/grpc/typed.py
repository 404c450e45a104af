"""The typed services on a server of the test, over a world of fakes that turns by itself.

Models are for detection, except those whose name begins with `e`: they are embedders.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

import grpc

from api.budget import ByteBudget
from api.grpc import modelmora, predictor
from api.grpc.call_handler import Pictures
from api.grpc.server import Listen, RpcServer
from api.grpc.services import Services
from api.object_source import NamedPictures
from api.protos import modelmora_pb2 as mm
from api.protos import predictor_pb2 as pb
from api.protos.modelmora_pb2_grpc import ModelInferenceStub
from api.protos.predictor_pb2_grpc import PredictorStub
from hotswap.dataplane import ModelWait
from hotswap.errors import ServingError
from hotswap.repository import Artifact, Verified
from manifest.tags import ModelTag
from tests.api.grpc.protocol import parts_of, recorder_of
from tests.hotswap.fakes import PATIENCE, FakeSource, Hold
from tests.hotswap.world import LiveWorld, live


class Embedders(FakeSource):
    """A store in which models whose name begins with `e` are embedders."""

    def settle(self, tag: ModelTag) -> Verified:
        """See `FakeSource.settle`."""
        found = super().settle(tag)
        if isinstance(found, Artifact) and tag.name.startswith("e"):
            config = found.config.model_copy(update={"task": modelmora.TASK})
            return replace(found, config=config)
        return found


@dataclass
class Typed:
    """What a test talks to, and looks into."""

    world: LiveWorld
    address: str
    channel: grpc.aio.Channel
    arriving: ModelWait
    cameras: predictor.Predictor
    server: RpcServer
    bodies: ByteBudget
    refused: list[tuple[str, str | None, str]]

    @property
    def embeddings(self) -> Any:
        """The service with its package."""
        return ModelInferenceStub(self.channel)

    @property
    def pictures(self) -> Any:
        """The cameras' service."""
        return PredictorStub(self.channel)

    async def settled(self, name: str, version: str) -> None:
        """Wait until a version serves."""
        await self.until(lambda: self.world.serving(name) == version)

    async def loading(self, tag: str) -> Hold:
        """A version comes in, and whoever loads it stands still there."""
        hold = self.world.loader.holds_load(tag.partition(":")[2])
        self.world.source.add(tag)
        self.world.reconciler.wake()
        await asyncio.to_thread(hold.reached)
        return hold

    async def nothing_held(self) -> None:
        """Wait until no place, lease, waiter, stream or byte is left."""
        await self.until(lambda: not self.left())

    def held(self) -> dict[str, int]:
        """What is held now, where it is more than nothing."""
        slots = self.world.reconciler.observed.slots
        found = {f"leases of {name}": each.leases for name, slot in slots.items() for each in slot}
        found |= {
            "places": self.world.data_plane.admission.inside,
            "waiting": self.arriving.waiting,
            "queued": self.world.pool.queued,
        }
        return {name: count for name, count in found.items() if count}

    def left(self) -> dict[str, int]:
        """What is held, streams that are open and bytes of their messages included."""
        more = {"streams": self.cameras.streams, "bytes": self.bodies.held}
        return self.held() | {name: count for name, count in more.items() if count}

    async def until(self, holds: Callable[[], bool]) -> None:
        """Wait until it is so; the reconciler looks again and again."""
        async with asyncio.timeout(PATIENCE):
            while not holds():
                self.world.reconciler.wake()
                await asyncio.sleep(0.002)


@asynccontextmanager
async def typed(
    *tags: str,
    capacity: int = 100,
    threads: int = 4,
    in_flight: int = 8,
    seconds: float = 30.0,
    codes: dict[str, int] | None = None,
    objects: Any = None,
) -> AsyncIterator[Typed]:
    """A server with both services on a free port, and a channel to it, when each model serves the last of its
    tags. Nothing is held afterwards.
    """
    source = Embedders()
    for tag in tags:
        source.add(tag)
    with live(codes=codes, source=source, capacity=capacity, threads=threads) as world:
        refused: list[tuple[str, str | None, str]] = []

        def refuse(request_id: str, model: str | None, error: ServingError, seconds: float) -> None:
            assert seconds >= 0
            refused.append((request_id, model, error.code))

        parts = parts_of(world, seconds, refuse)
        pictures = Pictures(world.data_plane, seconds, recorder_of(refuse), in_flight)
        arriving = ModelWait(world.data_plane, world.reconciler.view, world.reconciler.schedule)
        cameras = predictor.Predictor(pictures, world.reconciler.view, world.control)
        services = Services()
        services.add(
            modelmora.handlers(
                modelmora.ModelInference(pictures, arriving, NamedPictures(objects, parts.bodies))
            )
        )
        services.add(predictor.handlers(cameras), drain=cameras.drain)
        server = RpcServer(parts, Listen("127.0.0.1", 0), services)
        port = await server.start()
        address = f"127.0.0.1:{port}"
        async with grpc.aio.insecure_channel(address) as channel:
            found = Typed(world, address, channel, arriving, cameras, server, parts.bodies, refused)
            for name, version in source.latest.items():
                await found.settled(name, str(version))
            try:
                yield found
                await found.nothing_held()
            finally:
                for hold in world.loader.holds.values():
                    hold.let_go()
                await server.stop()


def embedding(request_id: str = "r", model: str = "e", **more: Any) -> mm.EmbeddingRequest:
    """A request for one vector."""
    picture = {"image_data": b"picture"}
    return mm.EmbeddingRequest(request_id=request_id, model_name=model, **(picture | more))


def picture(request_id: str = "r", model: str = "m", **more: Any) -> pb.PredictRequest:
    """A request for one picture's detections."""
    return pb.PredictRequest(request_id=request_id, model=model, **({"image": b"picture"} | more))
