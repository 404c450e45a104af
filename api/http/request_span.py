"""The span of one HTTP request, below the one that its client names in `traceparent`."""

from __future__ import annotations

from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any

from starlette.datastructures import Headers
from starlette.types import Scope

from telemetry import spans
from telemetry.routes import route_of

#: Asked every few seconds by those who watch the service: traces of them would bury all others.
_QUIET = frozenset(
    {
        "/livez",
        "/readyz",
        "/health",
        "/healthz",
        "/metrics",
        "/v2/health/live",
        "/v2/health/ready",
        "/api/v1/health",
        "/api/v1/metrics",
    }
)


class RequestSpan:
    """A context manager around a request."""

    __slots__ = ("_context", "_span")

    def __init__(self, scope: Scope, headers: Headers, request_id: str) -> None:
        self._context: AbstractContextManager[spans.Span] = spans.OFF
        if spans.is_on() and scope["path"] not in _QUIET:
            self._context = spans.span(
                "http.request",
                {
                    "http.request.method": scope["method"],
                    "http.route": route_of(scope["path"]),
                    "request_id": request_id,
                },
                kind=spans.SpanKind.SERVER,
                headers={name: headers[name] for name in spans.HEADERS if name in headers},
            )

    def __enter__(self) -> RequestSpan:
        self._span = self._context.__enter__()
        return self

    def answered(self, status: int) -> None:
        """Note the status of the response; one of the service's own errors fails the span."""
        if self._context is spans.OFF:
            return
        self._span.set_attribute("http.response.status_code", status)
        self._span.set_attribute(spans.STATUS, spans.OK if status < 400 else f"http_{status}")
        if status >= 500:
            spans.fail(self._span, f"HTTP {status}")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> Any:
        return self._context.__exit__(kind, error, trace)
