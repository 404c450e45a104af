"""What the gRPC server of a worker offers: one line a service."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import grpc
from grpc_reflection.v1alpha import reflection, reflection_pb2

from api.auth import Guard
from api.body import Store
from api.oip.parts import Parts as OipParts
from api.rpc import health, oip, typed
from api.rpc.calls import RpcObserver
from api.rpc.oip_stream import InferStreams
from api.rpc.pictures import Pictures
from hotswap.control import Control
from hotswap.dataplane import DataPlane
from hotswap.errors import ServingError
from hotswap.reconciler import Reconciler

REFLECTION = "grpc.reflection.v1alpha.ServerReflection"

Drain = Callable[[], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class RpcParts:
    """What services are made of: the same parts that HTTP has. Times are in seconds.

    `refused` counts and logs a prediction that was not made: request id, model asked for, why, and after
    how many seconds. `check_room` raises `Overloaded` before a message is received in vain.
    """

    oip: OipParts
    data_plane: DataPlane
    reconciler: Reconciler
    control: Control
    guard: Guard
    observer: RpcObserver
    bodies: Store
    max_body_bytes: int
    request_timeout: float
    refused: Callable[[str, str | None, ServingError, float], None]
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
    servicer = health.Health(parts.reconciler, lambda: frozenset(services.names))
    services.add(health.handlers(servicer), drain=servicer.drain)


def _oip(services: Services, parts: RpcParts) -> None:
    servicer = oip.Inference(parts.oip, parts.guard)
    pictures = Pictures(parts.data_plane, parts.request_timeout, parts.refused)
    streams = InferStreams(servicer.answer, pictures, parts.bodies)
    services.add(oip.handlers(servicer, streams), asks=("ModelInfer",), drain=streams.drain)


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
REGISTER: tuple[Register, ...] = (_health, _oip, typed.register, _reflection)


def offered(parts: RpcParts, registers: Iterable[Register] = REGISTER) -> Services:
    """Every service, made of these parts."""
    services = Services()
    for register in registers:
        register(services, parts)
    return services
