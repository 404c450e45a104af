"""The gRPC server of one worker: opened on the loop that HTTP runs on, and ended without losing a call."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import grpc

from api.grpc.call_handler import CallParts, Calls
from api.grpc.flow_control import MessageLimits, MessageReceiver
from api.grpc.services import Services, offered
from api.grpc.tls import BadCertificate, CertificateRenewal, TlsFiles
from api.parts import ServiceParts
from hotswap.admission import Admission
from telemetry.logs import hide_metadata

#: For each request that may run or wait: calls open at once, watchers and idle cameras among them; those of
#: them that may last as long as their callers like, so that there is room for who asks something; and those
#: of the latter that may send many messages, and hold part of one all the while.
_CALLS, _LASTING, _STREAMS = 10, 8, 4
#: Seconds in which calls are still taken when the service ends. The library answers none that it has not yet
#: handed over when it begins to stop; these were sent before their callers could know.
_LAST_WORDS = 0.2
#: Seconds that calls have beyond the longest request, when the service ends.
_GRACE = 5.0
_NOT_TAKEN = (
    "OpenSSL can use it, gRPC's library not; it takes PEM without a byte order mark, and keys of RSA, P-256 "
    "or P-384"
)


class CannotListen(Exception):
    """The port cannot be opened; the text says which, and why."""


@dataclass(frozen=True, slots=True)
class Listen:
    """Where to listen. `shared`: other workers of this service listen there, too.

    `most` connections may be open (None: any number), more are closed at once. Each has `patience` seconds
    until it speaks HTTP/2; with calls open it is asked for a sign of life as often, and has as long for it.
    Files of `tls` are read anew every `renewal` seconds.
    """

    host: str
    port: int
    shared: bool = False
    tls: TlsFiles | None = None
    most: int | None = None
    patience: float = 20.0
    renewal: float = 5.0

    @property
    def address(self) -> str:
        """Host and port as the library reads them."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def described(self) -> dict[str, Any]:
        """What a client has to know, for the run folder."""
        mutual = self.tls is not None and self.tls.client_ca is not None
        return {
            "host": self.host,
            "port": self.port,
            "tls": self.tls is not None,
            "client_certificates": mutual,
        }


class RpcServer:
    """Offers the services of one worker; made and used on its event loop."""

    def __init__(
        self,
        parts: ServiceParts,
        listen: Listen,
        services: Services | None = None,
    ) -> None:
        hide_metadata()
        self._listen = listen
        self._services = offered(parts) if services is None else services
        self._grace = parts.request_timeout + _GRACE
        capacity = parts.data_plane.admission.capacity
        rules = CallParts(
            receiving=MessageReceiver(
                parts.bodies,
                MessageLimits(parts.max_body_bytes, parts.max_stream_message_bytes, _STREAMS * capacity),
            ),
            seconds=parts.request_timeout,
            observer=parts.metrics,
            check_room=parts.check_room,
            lasting=Admission(_LASTING * capacity),
            guard=parts.auth,
        )
        patience = int(1000 * listen.patience)
        self._calls = Calls(self._services.handlers, rules, frozenset(self._services.admitted))
        self._server = grpc.aio.server(
            options=(
                ("grpc.so_reuseport", int(listen.shared)),
                ("grpc.max_receive_message_length", parts.max_body_bytes),
                # Otherwise the library takes in more and more of a message that is not read yet.
                ("grpc.http2.bdp_probe", 0),
                ("grpc.server_handshake_timeout_ms", patience),
                # A client without power would keep its streams for hours.
                ("grpc.keepalive_time_ms", patience),
                ("grpc.http2.ping_timeout_ms", patience),
                ("grpc.http2.max_pings_without_data", 0),
                *(() if listen.most is None else (("grpc.max_allowed_incoming_connections", listen.most),)),
            ),
            maximum_concurrent_rpcs=_CALLS * capacity,
        )
        self._server.add_generic_rpc_handlers((self._calls,))
        self._stopping: asyncio.Task[None] | None = None
        self._renewing: asyncio.Task[None] | None = None

    async def start(self) -> int:
        """Take calls from now on; the port. Raises `CannotListen` and `BadCertificate`."""
        certificate = None if self._listen.tls is None else CertificateRenewal(self._listen.tls)
        address = self._listen.address
        try:
            port = int(
                self._server.add_insecure_port(address)
                if certificate is None
                else self._server.add_secure_port(address, certificate.credentials())
            )
        except RuntimeError:
            port = 0
        if port == 0:
            check_free(self._listen)
            if self._listen.tls is not None:
                raise BadCertificate(f"{self._listen.tls.certificate} and what belongs to it: {_NOT_TAKEN}")
            raise CannotListen(_unable(self._listen, "the library does not say why"))
        await self._server.start()
        if certificate is not None:
            self._renewing = asyncio.create_task(certificate.go_on(self._listen.renewal))
        return port

    def drain(self) -> None:
        """Begin to end: watchers get the state, idle streams end, and in a moment no more calls are taken.

        Those under way are answered.
        """
        if self._stopping is None:
            for drain in self._services.drains:
                drain()
            self._calls.end_streams()
            self._stopping = asyncio.get_running_loop().create_task(self._end())

    async def _end(self) -> None:
        if self._renewing is not None:
            self._renewing.cancel()
        await asyncio.sleep(_LAST_WORDS)
        await self._server.stop(self._grace)

    async def stop(self) -> None:
        """Return when every call has its answer, or the grace is over."""
        self.drain()
        if self._stopping is not None:
            await self._stopping


def check_free(listen: Listen, unable: Callable[[Listen, str], str] | None = None) -> None:
    """Raise `CannotListen` where another process has the port, or there is no such address.

    `unable` says so in the words of another wire than gRPC.
    """
    family = socket.AF_INET6 if ":" in listen.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind((listen.host, listen.port))
        except (OSError, OverflowError) as error:
            raise CannotListen(
                (unable or _unable)(listen, getattr(error, "strerror", None) or str(error))
            ) from None


def _unable(listen: Listen, reason: str) -> str:
    return (
        f"gRPC cannot listen on {listen.address}: {reason}; set GRPC_PORT to another port, or to 0 for none"
    )
