"""Traces of commands, where the SDK's variables or the settings ask for them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING

from telemetry import spans
from telemetry.tracing import Tracing

if TYPE_CHECKING:
    from models_import.candidates import Candidate
    from settings import Settings


@contextmanager
def traced(name: str, settings: Settings | None = None) -> Iterator[None]:
    """Trace what a command does, as the service `name`; what waits is sent at its end."""
    tracing = Tracing(
        enabled=settings.tracing if settings else None,
        endpoint=settings.tracing_endpoint if settings else None,
        resource={"service.name": name},
    )
    tracing.start()
    try:
        yield
    finally:
        tracing.stop()


def import_span(candidate: Candidate) -> AbstractContextManager[spans.Span]:
    """`model.import` of one version."""
    wanted = candidate.wanted
    named = {"model_name": wanted.name, "model_version": wanted.version}
    attributes = {name: value for name, value in named.items() if value is not None}
    return spans.span("model.import", {"path": str(candidate.path), **attributes})
