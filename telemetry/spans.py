"""Spans: what a request goes through, as a trace of OpenTelemetry (https://opentelemetry.io/docs/specs/otel/trace/).

Nothing is traced until `begin`; until then a span costs a function call. Attributes have the names that log
lines have: `device_id`, `image_id`, `model_name`, `model_version`, `model_digest`, `status`.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from types import TracebackType

from opentelemetry import trace
from opentelemetry.trace import Span, SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

__all__ = ["HEADERS", "OFF", "Attributes", "Span", "SpanKind"]

Attributes = Mapping[str, str | int | float | bool | Sequence[str]]

#: In the place of a span where nothing is traced.
OFF: AbstractContextManager[Span] = nullcontext(trace.INVALID_SPAN)
#: Where a caller says what its own span is.
HEADERS = ("traceparent", "tracestate")
#: What became of it: `ok`, or the code of an error.
STATUS = "status"
OK = "ok"

#: Characters of an error's text.
_MOST_TEXT = 500
#: The headers `traceparent` and `tracestate` of W3C (https://www.w3.org/TR/trace-context/).
_W3C = TraceContextTextMapPropagator()

_tracer: trace.Tracer | None = None


def begin(tracer: trace.Tracer) -> None:
    """Trace from now on, in this process."""
    global _tracer  # noqa: PLW0603 - of a process, as its log is
    _tracer = tracer


def end() -> None:
    """Trace nothing more."""
    global _tracer  # noqa: PLW0603
    _tracer = None


def is_on() -> bool:
    """Whether this process traces."""
    return _tracer is not None


def span(
    name: str,
    attributes: Attributes | None = None,
    *,
    kind: SpanKind = SpanKind.INTERNAL,
    headers: Mapping[str, str] | None = None,
) -> AbstractContextManager[Span]:
    """A span around a block, below the one that is under way or the one that `headers` (names in small
    letters) come from. Its `status` is `ok`, or the code of what the block raises."""
    if _tracer is None:
        return OFF
    parent = None if headers is None else _W3C.extract(headers)
    return _Spanned(
        _tracer.start_as_current_span(
            name,
            parent,
            kind,
            {**(attributes or {}), STATUS: OK},
            record_exception=False,  # with its stack: that is what the log is for
            set_status_on_exception=False,
        )
    )


class _Spanned(AbstractContextManager[Span]):
    __slots__ = ("_context", "_span")

    def __init__(self, context: AbstractContextManager[Span]) -> None:
        self._context = context

    def __enter__(self) -> Span:
        self._span = self._context.__enter__()
        return self._span

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, stack: TracebackType | None
    ) -> bool | None:
        if error is not None:
            self._span.set_attribute(STATUS, str(getattr(error, "code", type(error).__name__)))
            fail(self._span, str(error)[:_MOST_TEXT])
        return self._context.__exit__(kind, error, stack)


def past(
    name: str,
    seconds: float,
    attributes: Attributes,
    *,
    ended: float | None = None,
    error: str | None = None,
    below: Span | None = None,
) -> Span:
    """A span of what has taken so many seconds until `ended`, a moment of `time.perf_counter()` (now).

    It lies below the span that is under way, or `below`. `error` says what failed.
    """
    if _tracer is None:
        return trace.INVALID_SPAN
    behind = 0.0 if ended is None else time.perf_counter() - ended
    end_ns = time.time_ns() - int(behind * 1e9)
    parent = None if below is None else trace.set_span_in_context(below)
    made = _tracer.start_span(
        name, parent, attributes=attributes, start_time=end_ns - int(max(0.0, seconds) * 1e9)
    )
    if error is not None:
        made.set_status(Status(StatusCode.ERROR, error))
    made.end(end_ns)
    return made


def fail(span: Span, reason: str) -> None:
    """Mark a span as failed."""
    span.set_status(Status(StatusCode.ERROR, reason))


def headers() -> dict[str, str]:
    """The headers by which others go on with this trace; empty where nothing is traced."""
    carrier: dict[str, str] = {}
    if _tracer is not None:
        _W3C.inject(carrier)
    return carrier


def trace_id() -> str | None:
    """The trace that is under way, in 32 hexadecimal digits; None where none is."""
    if _tracer is None:
        return None
    context = trace.get_current_span().get_span_context()
    return trace.format_trace_id(context.trace_id) if context.is_valid else None
