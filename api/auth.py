"""Who may change what is served."""

from __future__ import annotations

import hmac
import ipaddress
import os
import socket
from dataclasses import dataclass

from starlette.requests import Request

from api.errors import AdminTokenRequired, Forbidden, Unauthorized


@dataclass(frozen=True, slots=True)
class AdminAuth:
    """Guards changing calls. `exposed` says whether the listening socket is bound beyond loopback."""

    token: str | None
    exposed: bool
    insecure: bool = False

    def check(self, request: Request) -> str:
        """The actor of a permitted request; raises as `actor`, and for a page of another origin that could
        change what is served because its reader can reach the service.
        """
        if self.token is None and _is_foreign(request):
            raise Forbidden(
                "a page of another site may not change what is served, unless OKAWARI_ADMIN_TOKEN is set and "
                "the page sends it"
            )
        return self.actor(request.headers.get("authorization", ""))

    def actor(self, authorization: str) -> str:
        """The actor of a permitted call; raises `Unauthorized`, `Forbidden` or `AdminTokenRequired`."""
        if self.token is None:
            return self._without_token()
        kind, _, sent = authorization.partition(" ")
        if kind.lower() != "bearer" or not sent:
            raise Unauthorized("send the admin token as 'Authorization: Bearer <token>'")
        # Headers reach us as Latin-1, whatever the client wrote: compared are its bytes.
        if not hmac.compare_digest(sent.strip(" \t").encode("latin-1"), os.fsencode(self.token)):
            raise Forbidden("the admin token is wrong")
        return "admin"

    def _without_token(self) -> str:
        if self.exposed and not self.insecure:
            raise AdminTokenRequired(
                "the service listens beyond this machine: set OKAWARI_ADMIN_TOKEN and send it, "
                "or set OKAWARI_INSECURE=true to let anybody change what is served"
            )
        return "anonymous"


def _is_foreign(request: Request) -> bool:
    """Whether a browser sends this for a page that came from elsewhere."""
    origin = request.headers.get("origin")
    return origin is not None and origin.partition("://")[2] != request.headers.get("host")


def is_exposed(listener: socket.socket | None) -> bool:
    """Whether a listening socket takes connections from elsewhere; an unknown one counts as exposed."""
    if listener is None:
        return True
    address = listener.getsockname()
    if not isinstance(address, tuple):
        return False  # a socket in the file system
    return not ipaddress.ip_address(address[0].partition("%")[0]).is_loopback
