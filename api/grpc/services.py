"""The services with messages of their own, put together: ModelMora's and ours."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import grpc
from grpc_reflection.v1alpha import reflection, reflection_pb2

from api.auth import AdminAuth
from api.budget import ByteBudget
from api.grpc import health, modelmora, open_inference, predictor
from api.grpc.call_handler import Pictures, RpcObserver
from api.grpc.open_inference import InferStreams
from api.open_inference.parts import ProtocolParts as OipParts
from api.protos import modelmora_plain_pb2  # noqa: F401
from hotswap.control import Control
from hotswap.dataplane import DataPlane, ModelWait
from hotswap.events import Recorder
from hotswap.schedule import Schedule
from hotswap.status import StateView


def register(services: Services, parts: RpcParts) -> None:
    """Offer them. A call that tells of each picture by itself is let in where there is no room for one."""
    pictures = Pictures(parts.data_plane, parts.request_timeout, parts.recorder)
    arriving = ModelWait(parts.data_plane, parts.view, parts.schedule)
    vectors = modelmora.ModelInference(pictures, arriving)
    services.add(modelmora.handlers(vectors), asks=["GenerateEmbedding"])
    cameras = predictor.Predictor(pictures, parts.view, parts.control)
    services.add(predictor.handlers(cameras), asks=["Predict"], drain=cameras.drain)


REFLECTION = "grpc.reflection.v1alpha.ServerReflection"

Drain = Callable[[], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class RpcParts:
    """What services are made of: the same parts that HTTP has. Times are in seconds.

    `recorder` records the outcome of each inference. `check_room` raises `Overloaded` before a message is
    received in vain.
    """

    oip: OipParts
    data_plane: DataPlane
    view: StateView
    schedule: Schedule
    control: Control
    guard: AdminAuth
    observer: RpcObserver
    bodies: ByteBudget
    max_body_bytes: int
    max_stream_message_bytes: int
    request_timeout: float
    recorder: Recorder
    check_room: Callable[[], None]


class Services:
    """What a server offers, in the making.

    `names` are those of the services, `admitted` the full names of the methods that ask models, `drains` what
    to call when the service begins to end.
    """

    def __init__(self) -> None:
        self.handlers: list[grpc.GenericRpcHandler] = []
        self.names: list[str] = []
        self.admitted: set[str] = set()
        self.drains: list[Drain] = []

    def add(
        self,
        handlers: Iterable[grpc.ServiceRpcHandler],
        *,
        asks: Iterable[str] = (),
        drain: Drain | None = None,
    ) -> None:
        """Offer services; `asks` are their methods that ask models, by their bare names."""
        methods = tuple(asks)
        for handler in handlers:
            self.handlers.append(handler)
            self.names.append(handler.service_name())
            self.admitted |= {f"/{handler.service_name()}/{method}" for method in methods}
        if drain is not None:
            self.drains.append(drain)


def _health(services: Services, parts: RpcParts) -> None:
    servicer = health.Health(parts.view, lambda: frozenset(services.names))
    services.add(health.handlers(servicer), drain=servicer.drain)


def _oip(services: Services, parts: RpcParts) -> None:
    servicer = open_inference.InferenceServicer(parts.oip, parts.guard)
    pictures = Pictures(parts.data_plane, parts.request_timeout, parts.recorder)
    streams = InferStreams(servicer.answer, pictures, parts.bodies)
    services.add(open_inference.handlers(servicer, streams), asks=("ModelInfer",), drain=streams.drain)


def _reflection(services: Services, _: RpcParts) -> None:
    """Tells of every service that stands before it."""
    servicer = reflection.aio.ReflectionServicer((*services.names, REFLECTION))
    method = grpc.stream_stream_rpc_method_handler(
        servicer.ServerReflectionInfo,
        reflection_pb2.ServerReflectionRequest.FromString,
        reflection_pb2.ServerReflectionResponse.SerializeToString,
    )
    services.add([grpc.method_handlers_generic_handler(REFLECTION, {"ServerReflectionInfo": method})])


Register = Callable[[Services, RpcParts], None]

#: In this order; reflection, which tells of the others, comes last.
REGISTER: tuple[Register, ...] = (_health, _oip, register, _reflection)


def offered(parts: RpcParts, registers: Iterable[Register] = REGISTER) -> Services:
    """Every service, made of these parts."""
    services = Services()
    for register in registers:
        register(services, parts)
    return services
