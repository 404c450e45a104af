"""Our outermost ASGI middleware: request id, health, limits, error shape, metrics."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import orjson
from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api import budget, context, errors
from api.access.guard import AccessGuard
from api.context import FAULT, LAST_ANSWER, RequestContext
from api.http import body
from api.http.cross_origin import CrossOrigin
from api.http.path_prefix import PathPrefix
from api.http.request_span import RequestSpan
from hotswap.errors import ServingError

logger = logging.getLogger("bentoml.okawari.http")

LINGER_SECONDS = 1.0
#: The framework's redirect for a path with a missing or an extra trailing slash.
_REDIRECT = 307
#: The framework's pages load third-party scripts, which could call the service on behalf of the page.
_CONTENT_POLICY = "default-src 'self' data: blob: 'unsafe-inline'; frame-ancestors 'none'"
#: Sent with every answer: it is what its Content-Type says, and no address of ours is told to others. (To the
#: service's own pages it is: with `no-referrer` browsers hide their origin from the service, too.)
_SECURITY = ((b"x-content-type-options", b"nosniff"), (b"referrer-policy", b"same-origin"))
#: For browsers that do not know `frame-ancestors`.
_NO_FRAMES = "DENY"
Health = Callable[[], str | None]


class HttpObserver(Protocol):
    """Receives the metrics of HTTP requests."""

    def request(self, method: str, path: str, status: int, seconds: float) -> None:
        """Record one answered request."""
        ...


@dataclass(frozen=True, slots=True)
class RouteLimits:
    """Limits of one path, in bytes and seconds, and the statuses of its errors."""

    max_body_bytes: int
    request_timeout: float
    statuses: Sequence[tuple[type[ServingError], int]] | None = None


@dataclass(frozen=True, slots=True)
class MiddlewareOptions:
    """The parts of the middleware. `not_ready` returns the reason, None when ready, `degraded` what does not
    work meanwhile, though models answer. Without `cross_origin`
    no CORS header is sent, so browsers deny pages of other origins the answers. `prefix` is taken off paths.
    `team` is whose pictures the service answers. `guard` decides who is let in; there is none before the
    worker has started.
    """

    max_body_bytes: int
    bodies: budget.ByteBudget
    request_timeout: float
    not_ready: Health
    draining: Callable[[], bool]
    observer: HttpObserver
    degraded: Health = lambda: None
    cross_origin: CrossOrigin | None = None
    prefix: PathPrefix = field(default_factory=PathPrefix)
    routes: Mapping[str, RouteLimits] = field(default_factory=dict)
    team: str | None = None
    guard: Callable[[], AccessGuard | None] = lambda: None

    def limits(self, path: str) -> RouteLimits:
        """The limits of a path: its own, or those of all."""
        return self.routes.get(path) or RouteLimits(self.max_body_bytes, self.request_timeout)


class RequestMiddleware:
    """ASGI middleware. Lifespan events pass unchanged: an error there would prevent the start."""

    def __init__(self, app: ASGIApp, parts: MiddlewareOptions) -> None:
        self._app = app
        self._parts = parts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request, or pass on another kind of scope."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        prefix = self._parts.prefix.take_off(scope)
        request = Request(scope)
        limits = self._parts.limits(scope["path"])
        state = RequestContext(
            request_id=context.request_id(request.headers.get("x-request-id")),
            route_key=context.route_key(request.headers.get("x-route-key")),
            deadline=time.monotonic() + limits.request_timeout,
            statuses=limits.statuses,
            prefix=prefix,
            protocol=f"{scope['path']}/".startswith(("/v1/", "/v2/")),
        )
        context.current.set(state)
        preflight = None
        if self._parts.cross_origin is not None:
            preflight = self._parts.cross_origin.preflight(request)
            send = send if preflight else self._parts.cross_origin.with_headers(request, send)
        exchange = _Exchange(self._parts, scope, receive, send, state)
        fault = _refused if FAULT in scope else None
        app = fault or preflight or _to_root(scope, prefix) or self._health(scope) or self._let_in
        with RequestSpan(scope, request.headers, state.request_id) as span:
            await exchange.run(app)
            span.answered(exchange.status)

    async def _let_in(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on that its sender may make. Nothing of its body is read before."""
        guard = self._parts.guard()
        refusal = None if guard is None else await guard.admit(scope)
        await (refusal or self._app)(scope, receive, send)

    def _health(self, scope: Scope) -> ASGIApp | None:
        if scope["method"] not in ("GET", "HEAD"):
            return None
        path = scope["path"]
        if path in ("/livez", "/healthz"):
            return Response(
                orjson.dumps({"ok": True, "team": self._parts.team}), media_type="application/json"
            )
        if path == "/readyz":
            return self._readiness()
        return None

    def _readiness(self) -> Response:
        reason = self._parts.not_ready()
        if reason is None:
            degraded = self._parts.degraded()
            ready = {"ready": True} | ({"degraded": degraded} if degraded else {})
            return Response(orjson.dumps(ready), media_type="application/json")
        text = errors.body("not_ready", reason, context.current.get(), transient=True)
        return Response(text, 503, {"Retry-After": "1"}, "application/json")


class _Exchange:
    """The handling of one request: limits its body, completes or replaces its response."""

    def __init__(
        self, parts: MiddlewareOptions, scope: Scope, receive: Receive, send: Send, state: RequestContext
    ) -> None:
        self._parts = parts
        self._scope = scope
        self._receive = receive
        self._send = send
        self._state = state
        self._status = 0
        self._replaced = False

    async def run(self, app: ASGIApp) -> None:
        """Run `app`; the client gets an answer, in our error shape if `app` fails."""
        limit = self._parts.limits(self._scope["path"]).max_body_bytes
        limited = body.BoundedReceive(self._scope, self._receive, limit, self._parts.bodies)
        self._state.hold, self._state.let_go = limited.hold, limited.let_go
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
            self._parts.observer.request(method, path, self.status, seconds)

    @property
    def status(self) -> int:
        """What was answered; 499 where the client had left before."""
        return self._status or 499

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
        """The start of the response with our headers; an error of another shape is marked for replacement."""
        headers = MutableHeaders(scope=message)
        headers.raw.extend(_SECURITY)
        headers["X-Request-ID"] = self._state.request_id
        if headers.get("content-type", "").startswith("text/html"):
            headers["Content-Security-Policy"] = _CONTENT_POLICY
            headers["X-Frame-Options"] = _NO_FRAMES
        is_last = self._scope.get(LAST_ANSWER, _never)
        if self._parts.draining() or self._state.close or is_last():
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
            is_head = self._scope["method"] == "HEAD"
            message = {"type": "http.response.body", "body": b"" if is_head else self._own_body()}
        if last and self._state.linger:
            # The client may still be sending: closing now would reset the connection before it reads this.
            await self._send({**message, "more_body": True})
            await body.drain(self._receive, LINGER_SECONDS)
            message = {"type": "http.response.body", "body": b""}
        await self._send(message)


def _never() -> bool:
    return False


def _to_root(scope: Scope, prefix: str) -> ASGIApp | None:
    """A redirect from the bare prefix to the page below it, whose links are relative."""
    if scope["path"]:
        return None
    scope["path"] = "/"
    headers = {"Location": f"{prefix}/"}
    return Response(status_code=308, headers=headers) if scope["method"] in ("GET", "HEAD") else None


async def _refused(scope: Scope, _receive: Receive, _send: Send) -> None:
    """Refuse a request in which the transport found a fault."""
    raise scope[FAULT]


def _not_redirected(message: Message) -> Message:
    """Turn a slash redirect into 404: the framework would redirect to the Host that the client sent."""
    if message["status"] != _REDIRECT:
        return message
    headers = [(name, value) for name, value in message["headers"] if name.lower() != b"location"]
    return {**message, "status": 404, "headers": headers}
