"""Who a port shows, and whom it lets in, as a client over TLS sees it."""

from __future__ import annotations

import socket
import ssl

import grpc

from tests.e2e.certificates import Authority, Pair

HOST = "127.0.0.1"


def shown(port: int, authority: Authority, own: Pair) -> str:
    """The name on the certificate that is shown to who connects now. Raises where it is not signed."""
    context = ssl.create_default_context(cafile=authority.own.certificate)
    context.load_cert_chain(own.certificate, own.key)
    context.set_alpn_protocols(["h2"])
    with (
        socket.create_connection((HOST, port), timeout=30) as plain,
        context.wrap_socket(plain, server_hostname=HOST) as secret,
    ):
        names = dict(pair for (pair, *_) in (secret.getpeercert() or {})["subject"])
        return str(names["commonName"])


def credentials(authority: Authority, own: Pair | None) -> grpc.ChannelCredentials:
    """A client that trusts the authority and shows its own certificate, or none."""
    key, chain = own.read() if own else (None, None)
    return grpc.ssl_channel_credentials(authority.own.certificate.read_bytes(), key, chain)


#: Channels share connections unless they are told not to.
ALONE = (("grpc.use_local_subchannel_pool", 1),)


def let_in(port: int, authority: Authority, own: Pair | None) -> bool:
    """Whether a new connection comes so far that its calls are read."""
    with grpc.secure_channel(f"{HOST}:{port}", credentials(authority, own), options=ALONE) as channel:
        try:
            channel.unary_unary("/no/such")(b"", timeout=30)
        except grpc.RpcError as error:
            return error.code() is grpc.StatusCode.UNIMPLEMENTED  # type: ignore[attr-defined, no-any-return]
    raise AssertionError("there is no such method")
