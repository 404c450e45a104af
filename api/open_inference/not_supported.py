"""Extensions of Triton that its clients ask for and that are not here: refused with the reason."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from starlette.routing import BaseRoute, Match
from starlette.types import Receive, Scope, Send

from api.errors import NotSupported
from api.open_inference.types import SHARED_MEMORY
from hotswap.errors import ServingError

_TRACE = "tracing is not supported; GET /metrics and the service's log tell how long requests take"
_LOG = "log settings cannot be read or changed by request; OKAWARI_LOG_LEVEL sets the level at start"
_GENERATE = "the generate extension is not supported: no model here makes text; use …/infer"
#: Paths below /v2 → why nothing is there.
PATHS: Mapping[str, str] = {
    r"/v2/(system|cuda)sharedmemory(/.*)?": SHARED_MEMORY,
    r"/v2/(models/[^/]+/(versions/[^/]+/)?)?trace/setting": _TRACE,
    r"/v2/logging": _LOG,
    r"/v2/models/[^/]+/(versions/[^/]+/)?generate(_stream)?": _GENERATE,
}
#: Methods of the gRPC service → the same.
METHODS: Mapping[str, str] = {
    **{
        f"{kind}SharedMemory{what}": SHARED_MEMORY
        for kind in ("System", "Cuda")
        for what in ("Status", "Register", "Unregister")
    },
    "TraceSetting": _TRACE,
    "LogSettings": _LOG,
}


class NotOffered(BaseRoute):
    """All paths that a pattern fits, whatever the method."""

    def __init__(self, pattern: str, reason: str, kind: type[ServingError] = NotSupported) -> None:
        self._pattern = re.compile(pattern)
        self._reason = reason
        self._kind = kind

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """See `BaseRoute`."""
        fits = scope["type"] == "http" and self._pattern.fullmatch(scope["path"])
        return (Match.FULL if fits else Match.NONE), {}

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        """Raise the error, `NotSupported` unless it is of another kind."""
        raise self._kind(self._reason)


def refusing(method: str) -> Any:
    """The behaviour of a gRPC method that is not offered."""

    async def refuse(_: Any, __: Any) -> Any:
        raise NotSupported(METHODS[method])

    return refuse
