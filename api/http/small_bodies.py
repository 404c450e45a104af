"""FastAPI routes within our limits: the token first, then at most 64 kB of JSON are read in time."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from fastapi import HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.routing import Match
from starlette.types import Receive, Scope, Send

from api import errors
from api.access import guard
from api.access.needs import Need
from api.http import body
from common.text import explain_findings
from hotswap.errors import BadRequest

_MOST_BYTES = 65_536
#: The methods of every path: a route alone knows its own.
_METHODS: dict[str, set[str]] = {}

Handler = Callable[[Request], Coroutine[Any, Any, Response]]


class _SmallRequest(Request):
    async def body(self) -> bytes:
        """The decompressed body. Raises as `read_small` does, and `UnsupportedMediaType`."""
        if not hasattr(self, "_body"):
            media = self.headers.get("content-type", "application/json").partition(";")[0].strip().lower()
            if media != "application/json":
                raise errors.UnsupportedMediaType(f"Content-Type {media!r}: accepted is application/json")
            self._body = await body.read_small(self, _MOST_BYTES)
        return self._body


class SmallBodyRoute(APIRoute):
    """A route with a JSON body; an invalid one becomes our error. A GET route also accepts HEAD."""

    #: What a body, or a query, with a wrong field becomes.
    invalid: type[BadRequest] = BadRequest

    def __init__(self, path: str, *arguments: Any, **options: Any) -> None:
        super().__init__(path, *arguments, **options)
        _METHODS.setdefault(path, set()).update(self.methods or ())

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """See Starlette's `Route`."""
        return super().matches(self._as_get(scope))

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See Starlette's `Route`. The server omits the body of a HEAD; `Allow` names all of the path."""
        if self._as_get(scope)["method"] not in (self.methods or ()):
            raise HTTPException(405, headers={"Allow": ", ".join(sorted(_METHODS[self.path]))})
        await super().handle(self._as_get(scope), receive, send)

    def _as_get(self, scope: Scope) -> Scope:
        return {**scope, "method": "GET"} if scope.get("method") == "HEAD" else scope

    def get_route_handler(self) -> Handler:
        """FastAPI's handler, with a request that reads a limited body."""
        handle = super().get_route_handler()

        async def within_limits(request: Request) -> Response:
            small = _SmallRequest(request.scope, request.receive)
            if self.body_field is not None:
                await small.body()  # here: FastAPI makes a 400 of whatever it raises
            try:
                return await handle(small)
            except RequestValidationError as error:
                raise self._error(error.errors()) from None

        return within_limits

    def _error(self, findings: Sequence[Any]) -> BadRequest:
        first = findings[0]
        if first["type"] == "json_invalid":
            return BadRequest(
                f"the body is not JSON: {first['ctx']['error']}, at character {first['loc'][-1]}"
            )
        where = first["loc"][0]
        return self.invalid(explain_findings(where, [{**each, "loc": each["loc"][1:]} for each in findings]))


def managed_route(
    base: type[SmallBodyRoute] = SmallBodyRoute, need: Need = Need.WRITE
) -> type[SmallBodyRoute]:
    """Routes of whoever was let in with `need` by the access guard, before the body is read.

    The endpoint reads the actor from `request.state.actor`. Raises as `guard.actor`.
    """

    class ManagedRoute(base):  # type: ignore[misc,valid-type]
        def get_route_handler(self) -> Handler:
            handle = super().get_route_handler()

            async def guarded(request: Request) -> Response:
                request.state.actor = guard.actor(need)
                answer: Response = await handle(request)
                return answer

            return guarded

    return ManagedRoute
