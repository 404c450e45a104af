"""Traces of one process: made by the OpenTelemetry SDK, sent by OTLP over HTTP or gRPC.

The variables of the SDK hold as OpenTelemetry describes them: OTEL_EXPORTER_OTLP_ENDPOINT and _HEADERS,
OTEL_TRACES_SAMPLER, OTEL_SERVICE_NAME, OTEL_RESOURCE_ATTRIBUTES and others
(https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/).
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Mapping
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from telemetry import logs, spans

if TYPE_CHECKING:
    from opentelemetry.instrumentation.sqlalchemy import SQLAlchemyInstrumentor
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SpanExporter

logger = logging.getLogger(f"{logs.ROOT}.tracing")

_PATH = "/v1/traces"
_GRPC_PORT = 4317
_ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
#: In which the last spans are sent: a collector that is away must not hold up the end.
_LAST_SECONDS = 2.0


class Tracing:
    """The traces of this process. Nothing happens before `start`."""

    def __init__(
        self,
        *,
        enabled: bool | None,
        endpoint: str | None,
        variables: Mapping[str, str] = os.environ,
        resource: Mapping[str, str | int] | None = None,
    ) -> None:
        """`enabled` None: where `endpoint` or a variable of the SDK says where to send them.

        `endpoint` is the address of a collector, such as http://jaeger:4318; the SDK's variables come after
        it. `resource` says what sends them, such as `service.version`.
        """
        self._named = next((variables[name] for name in _ENDPOINTS if variables.get(name)), None)
        disabled = variables.get("OTEL_SDK_DISABLED", "").lower() == "true"
        self.is_on = not disabled and ((endpoint or self._named) is not None if enabled is None else enabled)
        self._endpoint = endpoint
        self._variables = variables
        self._resource = dict(resource or {})
        self._provider: TracerProvider | None = None
        self._database: SQLAlchemyInstrumentor | None = None

    def start(self) -> None:
        """Trace from now on. In a process that forks: after the fork, since a thread sends the spans."""
        if not self.is_on or self._provider is not None:
            return
        if find_spec("opentelemetry.exporter.otlp.proto.http") is None:
            logger.warning("no traces are sent: install okawari[tracing]")
            return
        # One line for a batch that is lost, not one for each try.
        logging.getLogger("opentelemetry.exporter").setLevel(logging.ERROR)
        self._sender = self._exporter()
        self._provider = _provider(self._sender, self._resource)
        spans.begin(self._provider.get_tracer("okawari"))

    @property
    def speaks_grpc(self) -> bool:
        """Whether spans go by gRPC: as the SDK's variable says, else to the port that is gRPC's by custom."""
        said = next((self._variables[name] for name in _PROTOCOLS if self._variables.get(name)), None)
        address = self._endpoint or self._named or ""
        return said == "grpc" or (said is None and urlsplit(address).port == _GRPC_PORT)

    def _exporter(self) -> SpanExporter:
        if self.speaks_grpc:
            from opentelemetry.exporter.otlp.proto.grpc import trace_exporter as by_grpc

            return by_grpc.OTLPSpanExporter(self._endpoint)
        from opentelemetry.exporter.otlp.proto.http import trace_exporter as by_http

        if self._endpoint is None:
            return by_http.OTLPSpanExporter()  # by the SDK's variables
        address = self._endpoint.rstrip("/")
        return by_http.OTLPSpanExporter(address if address.endswith(_PATH) else f"{address}{_PATH}")

    def trace_database(self, engine: Any) -> None:
        """Let the statements of an SQLAlchemy engine be spans, and carry `traceparent` in a comment
        (https://google.github.io/sqlcommenter/), so that the database's own log leads to the trace."""
        if self._provider is None:
            return
        from opentelemetry.instrumentation.sqlalchemy import SQLAlchemyInstrumentor

        self._database = SQLAlchemyInstrumentor()
        self._database.instrument(
            engine=engine, tracer_provider=self._provider, enable_commenter=True, commenter_options={}
        )

    def stop(self) -> None:
        """Send what waits, within two seconds, and end."""
        spans.end()
        if self._provider is None:
            return
        if self._database is not None:
            self._database.uninstrument()
            self._database = None
        flushing = threading.Thread(target=self._provider.force_flush, daemon=True)
        flushing.start()
        flushing.join(_LAST_SECONDS)
        self._sender.shutdown()  # or what tries to send would go on trying
        self._provider.shutdown()
        self._provider = None


def _provider(exporter: SpanExporter, resource: Mapping[str, str | int]) -> TracerProvider:
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    name = {} if os.environ.get("OTEL_SERVICE_NAME") else {"service.name": "okawari"}
    provider = TracerProvider(resource=Resource.create({**name, **resource}), shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(exporter))
    return provider
