"""`grpc.health.v1.Health`: the service as "" and by the names of its services, each model by its own.

Source: https://github.com/grpc/grpc/blob/master/doc/health-checking.md
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import grpc
from grpc_health.v1 import health_pb2 as messages

from hotswap.errors import ModelNotFound
from hotswap.status import StateView

NAME = "grpc.health.v1.Health"
#: Seconds after which a watcher is checked although nothing was sent.
_LONG = 3600.0

State = messages.HealthCheckResponse.ServingStatus
_SERVING, _NOT = State.SERVING, State.NOT_SERVING


class Health:
    """The servicer. A state is read when it is sent, so that it is never older than a swap."""

    def __init__(self, view: StateView, services: Callable[[], frozenset[str]]) -> None:
        self._view = view
        self._services = services
        self._draining = False
        self._ending = asyncio.Event()

    def drain(self) -> None:
        """From now on nothing serves here; watchers get that state, and their calls end."""
        self._draining = True
        self._ending.set()

    async def check(self, request: messages.HealthCheckRequest, _: Any) -> messages.HealthCheckResponse:
        """The state of a name now; raises `ModelNotFound` for an unknown one."""
        found = self.state(request.service)
        if found == State.SERVICE_UNKNOWN:
            raise ModelNotFound(f"there is neither a service nor a model {request.service[:64]!r}")
        return messages.HealthCheckResponse(status=found)

    async def watch(self, request: messages.HealthCheckRequest, call: Any) -> None:
        """The state of a name now, and again whenever it changes."""
        sent: int | None = None
        while not self._draining:
            sent = await self._send(call, request.service, sent)
            await self._change(request.service, sent)
        await self._send(call, request.service, sent)

    def state(self, name: str) -> int:
        """The state of a name."""
        own = not name or name in self._services()
        if not own and not self._view.known(name):
            return int(State.SERVICE_UNKNOWN)
        if self._draining:
            return int(_NOT)
        if own:
            return int(_SERVING if self._view.ready() else _NOT)
        return int(_SERVING if self._view.servable(name) else _NOT)

    async def _send(self, call: Any, name: str, sent: int | None) -> int:
        found = self.state(name)
        if found != sent:
            await call.write(messages.HealthCheckResponse(status=found))
        return found

    async def _change(self, name: str, sent: int) -> None:
        """Wait until a name is in another state, or the service ends."""
        watching = asyncio.ensure_future(self._view.wait_until(lambda: self.state(name) != sent, _LONG))
        ending = asyncio.ensure_future(self._ending.wait())
        try:
            await asyncio.wait({watching, ending}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            watching.cancel()
            ending.cancel()


def handlers(servicer: Health) -> list[grpc.GenericRpcHandler]:
    """The service."""
    read, write = messages.HealthCheckRequest.FromString, messages.HealthCheckResponse.SerializeToString
    methods = {
        "Check": grpc.unary_unary_rpc_method_handler(servicer.check, read, write),
        "Watch": grpc.unary_stream_rpc_method_handler(servicer.watch, read, write),
    }
    return [grpc.method_handlers_generic_handler(NAME, methods)]
