"""The services with messages of their own, put together: ModelMora's and ours."""

from __future__ import annotations

from typing import TYPE_CHECKING

from api.protos import modelmora_plain_pb2  # noqa: F401 - reflection tells of it under its own name
from api.rpc import modelmora, predictor
from api.rpc.arriving import Arriving
from api.rpc.pictures import Pictures

if TYPE_CHECKING:
    from api.rpc.services import RpcParts, Services


def register(services: Services, parts: RpcParts) -> None:
    """Offer them. A call that tells of each picture by itself is let in where there is no room for one."""
    pictures = Pictures(parts.data_plane, parts.request_timeout, parts.refused)
    arriving = Arriving(parts.data_plane, parts.reconciler)
    vectors = modelmora.ModelInference(pictures, arriving)
    services.add(modelmora.handlers(vectors), asks=["GenerateEmbedding"])
    cameras = predictor.Predictor(pictures, parts.reconciler, parts.control)
    services.add(predictor.handlers(cameras), asks=["Predict"], drain=cameras.drain)
