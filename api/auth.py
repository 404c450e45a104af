"""Authorisation of management calls."""

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
    """Guards management calls. `exposed`: the listening socket is bound beyond loopback."""

    token: str | None
    exposed: bool
    insecure: bool = False

    def check(self, request: Request) -> str:
        """The actor of a permitted request.

        Raises as `actor` does, and `Forbidden` for a page of another origin when there is no token: the
        browser of any visitor could send such a request.
        """
        if self.token is None and _is_foreign(request):
            raise Forbidden(
                "management calls from a page of another origin need the admin token: set "
                "OKAWARI_ADMIN_TOKEN and send it"
            )
        return self.actor(request.headers.get("authorization", ""))

    def actor(self, authorization: str) -> str:
        """The actor of a permitted call; raises `Unauthorized`, `Forbidden` or `AdminTokenRequired`."""
        if self.token is None:
            return self._without_token()
        kind, _, sent = authorization.partition(" ")
        if kind.lower() != "bearer" or not sent:
            raise Unauthorized("send the admin token as 'Authorization: Bearer <token>'")
        # Starlette decodes headers as Latin-1; the comparison is of the original bytes.
        if not hmac.compare_digest(sent.strip(" \t").encode("latin-1"), os.fsencode(self.token)):
            raise Forbidden("the admin token is wrong")
        return "admin"

    def _without_token(self) -> str:
        if self.exposed and not self.insecure:
            raise AdminTokenRequired(
                "the service listens beyond this machine: set OKAWARI_ADMIN_TOKEN and send it, "
                "or set OKAWARI_INSECURE=true to allow management calls without a token"
            )
        return "anonymous"


def _is_foreign(request: Request) -> bool:
    """Whether a browser sends the request for a page of another origin."""
    origin = request.headers.get("origin")
    return origin is not None and origin.partition("://")[2] != request.headers.get("host")


def is_exposed(listener: socket.socket | None) -> bool:
    """Whether a listening socket accepts connections of other machines; an unknown one counts as exposed."""
    if listener is None:
        return True
    address = listener.getsockname()
    if not isinstance(address, tuple):
        return False  # a Unix domain socket
    return not ipaddress.ip_address(address[0].partition("%")[0]).is_loopback
