"""The registration of all services that the gRPC server offers."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import grpc
from grpc_reflection.v1alpha import reflection, reflection_pb2

from api.grpc import health, modelmora, open_inference, predictor
from api.grpc.call_handler import Pictures
from api.grpc.open_inference import InferStreams
from api.object_source import NamedPictures
from api.parts import ServiceParts
from api.protos import modelmora_plain_pb2  # noqa: F401
from hotswap.dataplane import ModelWait


def register(services: Services, parts: ServiceParts) -> None:
    """Offer them. A call that reports each picture by itself is admitted even without room for one."""
    pictures = Pictures(parts.data_plane, parts.request_timeout, parts.recorder)
    arriving = ModelWait(parts.data_plane, parts.view, parts.schedule)
    named = NamedPictures(parts.objects, parts.bodies)
    vectors = modelmora.ModelInference(pictures, arriving, named)
    services.add(modelmora.handlers(vectors), asks=["GenerateEmbedding"])
    cameras = predictor.Predictor(pictures, parts.view, parts.control)
    services.add(predictor.handlers(cameras), asks=["Predict"], drain=cameras.drain)


REFLECTION = "grpc.reflection.v1alpha.ServerReflection"

Drain = Callable[[], None]


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


def _health(services: Services, parts: ServiceParts) -> None:
    servicer = health.Health(parts.view, lambda: frozenset(services.names))
    services.add(health.handlers(servicer), drain=servicer.drain)


def _oip(services: Services, parts: ServiceParts) -> None:
    servicer = open_inference.InferenceServicer(parts)
    pictures = Pictures(parts.data_plane, parts.request_timeout, parts.recorder)
    streams = InferStreams(servicer.answer, pictures, parts.bodies)
    services.add(open_inference.handlers(servicer, streams), asks=("ModelInfer",), drain=streams.drain)


def _reflection(services: Services, _: ServiceParts) -> None:
    """Describe every service registered before it."""
    servicer = reflection.aio.ReflectionServicer((*services.names, REFLECTION))
    method = grpc.stream_stream_rpc_method_handler(
        servicer.ServerReflectionInfo,
        reflection_pb2.ServerReflectionRequest.FromString,
        reflection_pb2.ServerReflectionResponse.SerializeToString,
    )
    services.add([grpc.method_handlers_generic_handler(REFLECTION, {"ServerReflectionInfo": method})])


Register = Callable[[Services, ServiceParts], None]

#: In this order; reflection, which describes the others, comes last.
REGISTER: tuple[Register, ...] = (_health, _oip, register, _reflection)


def offered(parts: ServiceParts, registers: Iterable[Register] = REGISTER) -> Services:
    """Every service, made of these parts."""
    services = Services()
    for register in registers:
        register(services, parts)
    return services
