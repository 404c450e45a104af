"""The one place that decides whether a call is let in, before anything of its body is read."""

from __future__ import annotations

import hmac
import os
from collections.abc import Mapping
from typing import Protocol

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Scope as HttpScope

from api import context
from api.access.identity import ADMINISTRATOR, ANONYMOUS, EVERYTHING, Identity
from api.access.needs import Need, http_need, methods_of
from api.access.quotas import Quotas
from api.auth import AdminAuth
from api.errors import InsufficientScope, Unauthorized

__all__ = ["AccessGuard", "TokenVerifier", "actor"]

_NO_TOKEN = "send a token as 'Authorization: Bearer <token>'"  # noqa: S105


class TokenVerifier(Protocol):
    """Says whose a bearer token is."""

    async def identity(self, token: str) -> Identity:
        """The caller. Raises `InvalidToken`, and `IdentityProviderUnavailable`."""
        ...


class AccessGuard:
    """Decides by the tables of `api.access.needs`.

    Without `tokens` there is the static admin token alone. `required`: who asks a model, or reads what there
    is, needs a token, too. `device_header` is that of devices' own tokens, which are checked where devices
    are known.
    """

    def __init__(
        self,
        admin: AdminAuth,
        *,
        tokens: TokenVerifier | None = None,
        required: bool = False,
        quotas: Quotas | None = None,
        device_header: str = "X-API-Token",
    ) -> None:
        self._admin = admin
        self._tokens = tokens
        self._required = required
        self._quotas = quotas if quotas is not None and quotas.counts_callers else None
        self._device_header = device_header.lower()
        #: Whether paths without an entry are refused, and not left to the framework.
        self._strict = tokens is not None or required

    # --- HTTP ------------------------------------------------------------------------------------

    async def admit(self, scope: HttpScope) -> Response | None:
        """Let a request in, and note who sends it; else the answer to a path or method that there is not.

        Raises `Unauthorized`, `Forbidden`, `AdminTokenRequired`, `IdentityProviderUnavailable` and
        `QuotaExceeded`.
        """
        need = http_need(scope["method"], scope["path"])
        if need is None:
            return _not_there(scope["path"]) if self._strict else None
        if self._is_free(need):
            return None
        request = Request(scope)
        headers = request.headers
        if need is Need.DETECT and not self._is_bearer_of_devices(headers):
            return None
        if self._tokens is None and need.always:
            caller = _manager(self._admin.check(request))
        else:
            caller = await self._caller(need, headers.get("authorization", ""))
        self._count(need, caller)
        context.current.get().identity = caller
        return None

    def _is_bearer_of_devices(self, headers: Mapping[str, str]) -> bool:
        """Whether pictures come with a token of ours, and not with that of a device."""
        return self._device_header not in headers and _bearer(headers.get("authorization", "")) is not None

    # --- gRPC ------------------------------------------------------------------------------------

    async def admit_call(self, need: Need, authorization: str, *, streaming: bool = False) -> None:
        """Let a call in, and note who makes it. Of a stream each message is counted: see `count_message`.

        `authorization` has a character for each byte. Raises as `admit`.
        """
        if self._is_free(need):
            return
        if self._tokens is None and need.always:
            caller = _manager(self._admin.actor(authorization))
        else:
            caller = await self._caller(need, authorization)
        if not streaming:
            self._count(need, caller)
        context.current.get().identity = caller

    def count_message(self) -> None:
        """Count one message of the stream under way. Raises `QuotaExceeded`."""
        caller = context.current.get().identity
        if caller is not None:
            self._count(Need.PREDICT, caller)

    # --- both ------------------------------------------------------------------------------------

    def _is_free(self, need: Need) -> bool:
        """Whether it does not matter who calls."""
        if need is Need.OPEN:
            return True
        if need is Need.DETECT:
            return self._tokens is None
        return not (need.always or self._required or (need is Need.PREDICT and self._quotas))

    async def _caller(self, need: Need, authorization: str) -> Identity:
        demanded = need.always or self._required or need is Need.DETECT
        token = _bearer(authorization)
        if token is None:
            if demanded:
                raise Unauthorized(_NO_TOKEN)
            return ANONYMOUS
        caller = await self._identity(token, authorization)
        if demanded and not caller.may(need.scopes):
            raise _insufficient(need)
        return caller

    async def _identity(self, token: str, authorization: str) -> Identity:
        secret = self._admin.token
        if self._tokens is None:
            return _manager(self._admin.actor(authorization))
        if secret is not None and hmac.compare_digest(token.encode("latin-1"), os.fsencode(secret)):
            return ADMINISTRATOR
        return await self._tokens.identity(token)

    def _count(self, need: Need, caller: Identity) -> None:
        if self._quotas is not None and need in (Need.PREDICT, Need.DETECT):
            self._quotas.take(caller)


def actor(need: Need = Need.WRITE) -> str:
    """Who makes the change under way. Raises `Unauthorized` where no caller was let in for it.

    A second look: were a path decided by another row of the table than its handler's, it would end here.
    """
    caller = context.current.get().identity
    if caller is None or not caller.may(need.scopes):
        raise Unauthorized(_NO_TOKEN)
    return caller.actor


def _manager(name: str) -> Identity:
    """Whom the rules of the admin token let in."""
    return ADMINISTRATOR if name == ADMINISTRATOR.actor else Identity(name, name, EVERYTHING)


def _bearer(authorization: str) -> str | None:
    kind, _, sent = authorization.partition(" ")
    sent = sent.strip(" \t")
    return sent if kind.lower() == "bearer" and sent else None


def _insufficient(need: Need) -> InsufficientScope:
    names = [str(scope) for scope in need.scopes]
    return InsufficientScope(f"the token needs the scope {' or '.join(names)}", " ".join(names))


def _not_there(path: str) -> Response:
    """404, or 405 with the methods of the path; the layer around gives it our shape."""
    methods = methods_of(path)
    if not methods:
        return Response(status_code=404)
    return Response(status_code=405, headers={"Allow": ", ".join(sorted(methods))})
