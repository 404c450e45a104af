"""The typed services stand on every server, and reflection tells what they take and give."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc
import pytest
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from api.grpc.server import Listen, RpcServer
from api.grpc.services import offered
from tests.api.grpc.protocol import parts_of
from tests.hotswap.world import live

pytestmark = pytest.mark.anyio

NAMES = {"modelmora.v1.ModelInference", "ModelInference", "okawari.v1.Predictor"}


@asynccontextmanager
async def server() -> AsyncIterator[str]:
    """The address of one as every worker has it."""
    with live() as world:
        served = RpcServer(parts_of(world), Listen("127.0.0.1", 0))
        port = await served.start()
        try:
            yield f"127.0.0.1:{port}"
        finally:
            await served.stop()


async def test_reflection_knows_every_name_of_the_services_and_their_methods() -> None:
    async with server() as address:
        found = await asyncio.to_thread(_told, address)
    plain, packaged = found.pop("ModelInference"), found.pop("modelmora.v1.ModelInference")
    assert plain == packaged == ["GenerateEmbedding", "GenerateBatch", "GenerateEmbeddingStream"]
    assert found == {"okawari.v1.Predictor": ["Predict", "PredictStream", "ListModels"]}


def _told(address: str) -> dict[str, list[str]]:
    with grpc.insecure_channel(address) as channel:
        database = ProtoReflectionDescriptorDatabase(channel)
        assert set(database.get_services()) >= NAMES
        pool = DescriptorPool(database)
        found = {name: pool.FindServiceByName(name) for name in NAMES}
        return {name: [each.name for each in service.methods] for name, service in found.items()}


async def test_a_call_for_one_picture_is_refused_before_it_is_received_where_there_is_no_room() -> None:
    with live() as world:
        admitted = offered(parts_of(world)).admitted
    ours = {name for name in admitted if name[1:].partition("/")[0] in NAMES}
    assert ours == {
        "/modelmora.v1.ModelInference/GenerateEmbedding",
        "/ModelInference/GenerateEmbedding",
        "/okawari.v1.Predictor/Predict",
    }
