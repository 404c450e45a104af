"""Extensions of Triton that are not supported: calls are refused with the reason."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from starlette.routing import BaseRoute, Match
from starlette.types import Receive, Scope, Send

from api.errors import NotSupported
from api.open_inference.types import SHARED_MEMORY
from hotswap.errors import ServingError

_TRACE = "tracing is not supported; for the duration of requests see GET /metrics and the service's log"
_LOG = "log settings cannot be read or changed at run time; set OKAWARI_LOG_LEVEL before the start"
_GENERATE = "the generate extension is not supported: no model generates text; use …/infer"
#: Path patterns below /v2 → the reason.
PATHS: Mapping[str, str] = {
    r"/v2/(system|cuda)sharedmemory(/.*)?": SHARED_MEMORY,
    r"/v2/(models/[^/]+/(versions/[^/]+/)?)?trace/setting": _TRACE,
    r"/v2/logging": _LOG,
    r"/v2/models/[^/]+/(versions/[^/]+/)?generate(_stream)?": _GENERATE,
}
#: Methods of the gRPC service → the reason.
METHODS: Mapping[str, str] = {
    **{
        f"{kind}SharedMemory{action}": SHARED_MEMORY
        for kind in ("System", "Cuda")
        for action in ("Status", "Register", "Unregister")
    },
    "TraceSetting": _TRACE,
    "LogSettings": _LOG,
}


class NotOffered(BaseRoute):
    """A route that refuses every path matching a pattern, for all methods."""

    def __init__(self, pattern: str, reason: str, kind: type[ServingError] = NotSupported) -> None:
        self._pattern = re.compile(pattern)
        self._reason = reason
        self._kind = kind

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """See `BaseRoute`."""
        fits = scope["type"] == "http" and self._pattern.fullmatch(scope["path"])
        return (Match.FULL if fits else Match.NONE), {}

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        """Raise the error."""
        raise self._kind(self._reason)


def refusing(method: str) -> Any:
    """The handler of a gRPC method that is not supported."""

    async def refuse(_: Any, __: Any) -> Any:
        raise NotSupported(METHODS[method])

    return refuse
