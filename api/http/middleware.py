"""The outermost layer of ours round every HTTP request: id, health, limits, error shape, figures."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, MutableMapping
from dataclasses import dataclass
from typing import Any, Protocol

import orjson
from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api import budget, context, errors
from api.context import FAULT, RequestContext
from api.http import body
from api.http.cross_origin import CrossOrigin
from hotswap.errors import ServingError

logger = logging.getLogger("bentoml.okawari.http")

LINGER_SECONDS = 1.0
#: What the framework answers for a path that has a slash more or less than one that there is.
_REDIRECT = 307
#: Pages of the framework would load a script of somebody else, who could call the service as the page may.
_NOBODY_ELSE = "default-src 'self' data: blob: 'unsafe-inline'; frame-ancestors 'none'"
Health = Callable[[], str | None]


class HttpObserver(Protocol):
    """Where the figures of HTTP go."""

    def request(self, method: str, path: str, status: int, seconds: float) -> None:
        """One request was answered."""
        ...


@dataclass(frozen=True, slots=True)
class MiddlewareParts:
    """What the gateway is made of. `not_ready` gives the reason, None when ready; without `cross_origin`
    pages of other origins are told nothing, so their browsers let them read nothing.
    """

    max_body_bytes: int
    bodies: budget.ByteBudget
    request_timeout: float
    not_ready: Health
    draining: Callable[[], bool]
    observer: HttpObserver
    cross_origin: CrossOrigin | None = None


class RequestMiddleware:
    """ASGI middleware. Lifespan passes untouched: an error there would leave a service without its parts."""

    def __init__(self, app: ASGIApp, parts: MiddlewareParts) -> None:
        self._app = app
        self._parts = parts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection event stream."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request = Request(scope)
        state = RequestContext(
            request_id=context.request_id(request.headers.get("x-request-id")),
            deadline=time.monotonic() + self._parts.request_timeout,
            protocol=f"{scope['path']}/".startswith(("/v1/", "/v2/")),
        )
        context.current.set(state)
        preflight = None
        if self._parts.cross_origin is not None:
            preflight = self._parts.cross_origin.preflight(request)
            send = send if preflight else self._parts.cross_origin.telling(request, send)
        exchange = _Exchange(self._parts, scope, receive, send, state)
        fault = _refused if FAULT in scope else None
        await exchange.run(fault or preflight or self._health(scope) or self._app)

    def _health(self, scope: Scope) -> ASGIApp | None:
        if scope["method"] not in ("GET", "HEAD"):
            return None
        path = scope["path"]
        if path in ("/livez", "/healthz"):
            return Response(orjson.dumps({"ok": True, "team": None}), media_type="application/json")
        if path == "/readyz":
            return self._readiness()
        return None

    def _readiness(self) -> Response:
        reason = self._parts.not_ready()
        if reason is None:
            return Response(orjson.dumps({"ready": True}), media_type="application/json")
        text = errors.body("not_ready", reason, context.current.get())
        return Response(text, 503, {"Retry-After": "1"}, "application/json")


class _Exchange:
    """One request and its response."""

    def __init__(
        self, parts: MiddlewareParts, scope: Scope, receive: Receive, send: Send, state: RequestContext
    ) -> None:
        self._parts = parts
        self._scope = scope
        self._receive = receive
        self._send = send
        self._state = state
        self._status = 0
        self._replaced = False

    async def run(self, app: ASGIApp) -> None:
        """Let `app` answer; whatever it does, the client gets an answer of our shape."""
        parts = self._parts
        limited = body.Bounded(self._scope, self._receive, parts.max_body_bytes, parts.bodies)
        self._state.hold = limited.hold
        try:
            await app(self._scope, limited, self._on_message)
        except ServingError as error:
            await self._fail(errors.response(error))
        except Exception:
            logger.exception("request %s", self._state.request_id)
            text = errors.framework_body(500, self._state)
            await self._fail(Response(text, 500, media_type="application/json"))
        finally:
            limited.release()
            seconds = time.perf_counter() - self._state.received
            method, path = self._labels()
            self._parts.observer.request(method, path, self._status or 499, seconds)

    def _labels(self) -> tuple[str, str]:
        return ("", "") if FAULT in self._scope else (self._scope["method"], self._scope["path"])

    async def _fail(self, response: Response) -> None:
        if self._status == 0:
            await response(self._scope, self._receive, self._on_message)

    async def _on_message(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            message = _not_redirected(message)
            self._status = message["status"]
            await self._send(self._dressed(message))
        elif message["type"] == "http.response.body":
            await self._on_body(message)
        else:
            await self._send(message)

    def _dressed(self, message: MutableMapping[str, Any]) -> Message:
        """The response's start with our headers; an error that is not of our shape is replaced."""
        headers = MutableHeaders(scope=message)
        headers["X-Request-ID"] = self._state.request_id
        if headers.get("content-type", "").startswith("text/html"):
            headers["Content-Security-Policy"] = _NOBODY_ELSE
        if self._parts.draining() or self._state.close:
            headers["Connection"] = "close"
        self._replaced = self._status >= 400 and not self._state.shaped
        if self._replaced:
            headers["Content-Type"] = "application/json"
            headers["Content-Length"] = str(len(self._own_body()))
        return message

    def _own_body(self) -> bytes:
        return errors.framework_body(self._status, self._state)

    async def _on_body(self, message: Message) -> None:
        last = not message.get("more_body", False)
        if self._replaced:
            if not last:
                return
            without = self._scope["method"] == "HEAD"
            message = {"type": "http.response.body", "body": b"" if without else self._own_body()}
        if last and self._state.linger:
            # The client may still be sending: closing at once would reset it before it reads this.
            await self._send({**message, "more_body": True})
            await body.drain(self._receive, LINGER_SECONDS)
            message = {"type": "http.response.body", "body": b""}
        await self._send(message)


async def _refused(scope: Scope, _receive: Receive, _send: Send) -> None:
    """The answer to what the transport could not read as a request."""
    raise scope[FAULT]


def _not_redirected(message: Message) -> Message:
    """A path with a slash too many is none: the framework would redirect to whatever Host the client sent."""
    if message["status"] != _REDIRECT:
        return message
    headers = [(name, value) for name, value in message["headers"] if name.lower() != b"location"]
    return {**message, "status": 404, "headers": headers}
