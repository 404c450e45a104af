"""When a process traces, and where it sends its spans."""

from __future__ import annotations

import socket
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import pytest
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from telemetry import spans
from telemetry.tracing import Tracing
from tests.support.otlp_receiver import otlp_receiver

_TO = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"}


@pytest.mark.parametrize(
    ("enabled", "endpoint", "variables", "is_on"),
    [
        (None, None, {}, False),
        (None, None, _TO, True),
        (None, None, {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:4318/v1/traces"}, True),
        (None, "http://jaeger:4318", {}, True),
        (False, "http://jaeger:4318", _TO, False),
        (True, None, {}, True),
        (True, None, {"OTEL_SDK_DISABLED": "true"}, False),
    ],
)
def test_it_traces_where_somebody_says_so(
    enabled: bool | None, endpoint: str | None, variables: dict[str, str], is_on: bool
) -> None:
    assert Tracing(enabled=enabled, endpoint=endpoint, variables=variables).is_on is is_on


@pytest.mark.parametrize(
    ("endpoint", "protocol", "by_grpc"),
    [
        ("http://jaeger:4318", None, False),
        ("http://jaeger:4317", None, True),
        ("http://jaeger:4317", "http/protobuf", False),
        ("http://jaeger", "grpc", True),
        (None, None, False),
    ],
)
def test_the_port_says_the_protocol_unless_a_variable_does(
    endpoint: str | None, protocol: str | None, by_grpc: bool
) -> None:
    variables = {} if protocol is None else {"OTEL_EXPORTER_OTLP_PROTOCOL": protocol}
    assert Tracing(enabled=True, endpoint=endpoint, variables=variables).speaks_grpc is by_grpc


def test_spans_arrive_by_grpc() -> None:
    received: list[str] = []

    class Collector(trace_service_pb2_grpc.TraceServiceServicer):  # type: ignore[misc]
        def Export(self, request: Any, context: Any) -> ExportTraceServiceResponse:  # noqa: N802 - gRPC's name
            scopes = [scope for group in request.resource_spans for scope in group.scope_spans]
            received.extend(span.name for scope in scopes for span in scope.spans)
            return ExportTraceServiceResponse()

    server = grpc.server(ThreadPoolExecutor(1))
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(Collector(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    variables = {"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}
    tracing = Tracing(enabled=True, endpoint=f"http://127.0.0.1:{port}", variables=variables)
    tracing.start()
    with spans.span("http.request"):
        pass
    tracing.stop()
    server.stop(0).wait()
    assert received == ["http.request"]


@pytest.mark.parametrize("path", ["", "/", "/v1/traces"])
def test_spans_arrive_with_what_sends_them(path: str) -> None:
    with otlp_receiver() as receiver:
        tracing = Tracing(
            enabled=None,
            endpoint=f"{receiver.url}{path}",
            variables={},
            resource={"service.instance.id": "here"},
        )
        tracing.start()
        with spans.span("http.request", {"num": 1}):
            pass
        tracing.stop()
        (span,) = receiver.spans
    assert (span.name, span.service, span.attributes) == (
        "http.request",
        "okawari",
        {"num": 1, "status": "ok"},
    )
    assert not spans.is_on()


def test_a_collector_that_is_away_holds_up_no_end() -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # and does not listen
        endpoint = f"http://127.0.0.1:{nobody.getsockname()[1]}"
        tracing = Tracing(enabled=True, endpoint=endpoint, variables={})
        tracing.start()
        for _ in range(3000):  # more than what waits at most
            with spans.span("http.request"):
                pass
        begun = time.monotonic()
        tracing.stop()
    assert time.monotonic() - begun < 10
