"""A receiver of traces by OTLP over HTTP, as a collector is one, on a real socket.

Protocol: https://opentelemetry.io/docs/specs/otlp/#otlphttp
"""

from __future__ import annotations

import gzip
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from tests.e2e.waiting import until


@dataclass(frozen=True)
class ReceivedSpan:
    """One span; ids are hexadecimal, `parent` is empty for the first of a trace."""

    name: str
    trace: str
    id: str
    parent: str
    milliseconds: float
    failed: bool
    attributes: dict[str, Any]
    service: str


@dataclass
class OtlpReceiver:
    """What has arrived so far."""

    url: str
    spans: list[ReceivedSpan] = field(default_factory=list)

    def of(self, trace: str, *names: str, seconds: float = 20.0) -> list[ReceivedSpan]:
        """The spans of a trace, when those of these names are there."""

        def found() -> bool:
            return set(names) <= {span.name for span in self.spans if span.trace == trace}

        until(found, f"spans {', '.join(names)} of {trace}", seconds=seconds)
        return [span for span in self.spans if span.trace == trace]

    def named(self, name: str, seconds: float = 20.0, **attributes: Any) -> ReceivedSpan:
        """The newest span of a name with these attributes, when it is there."""

        def matching() -> list[ReceivedSpan]:
            wanted = attributes.items()
            return [each for each in self.spans if each.name == name and wanted <= each.attributes.items()]

        until(lambda: bool(matching()), f"a span {name} with {attributes}", seconds=seconds)
        return matching()[-1]


@contextmanager
def otlp_receiver() -> Iterator[OtlpReceiver]:
    """Listens on a free port of loopback."""
    received = OtlpReceiver("")

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            assert self.path == "/v1/traces", self.path
            received.spans += _spans(ExportTraceServiceRequest.FromString(body))
            answer = ExportTraceServiceResponse().SerializeToString()
            self.send_response(200)
            self.send_header("Content-Type", "application/x-protobuf")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        received.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield received
        finally:
            server.shutdown()
            thread.join(10)


def _spans(request: ExportTraceServiceRequest) -> Iterator[ReceivedSpan]:
    for group in request.resource_spans:
        resource = _attributes(group.resource.attributes)
        for scope in group.scope_spans:
            for span in scope.spans:
                yield ReceivedSpan(
                    span.name,
                    span.trace_id.hex(),
                    span.span_id.hex(),
                    span.parent_span_id.hex(),
                    (span.end_time_unix_nano - span.start_time_unix_nano) / 1e6,
                    span.status.code == span.status.STATUS_CODE_ERROR,
                    _attributes(span.attributes),
                    str(resource.get("service.name")),
                )


def _attributes(pairs: Any) -> dict[str, Any]:
    return {pair.key: getattr(pair.value, pair.value.WhichOneof("value")) for pair in pairs}
