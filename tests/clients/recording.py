"""Requests of perf_analyzer as they came over the wire, for machines where it cannot run itself.

usage: python -m tests.clients.recording http|grpc HOST:PORT    then perf_analyzer against the port it tells

Over HTTP whole requests are kept, over gRPC whole messages with their method; each kind of request once.
"""

from __future__ import annotations

import base64
import json
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import grpc

RECORDINGS = Path(__file__).parent / "recordings"
_METHODS = {"http": RECORDINGS / "perf_analyzer_http.json", "grpc": RECORDINGS / "perf_analyzer_grpc.json"}


def recorded(wire: str) -> list[tuple[str, bytes]]:
    """Name and bytes of every request, in the order in which they came."""
    listed = json.loads(_METHODS[wire].read_text())
    return [(each["name"], base64.b64decode(each["bytes"])) for each in listed]


class _Kept:
    """What has come so far; written at once, because the recorder is ended by hand."""

    def __init__(self, wire: str) -> None:
        self._path = _METHODS[wire]
        self._found: dict[str, bytes] = {}

    def add(self, name: str, data: bytes) -> None:
        self._found.setdefault(name, data)
        told = [
            {"name": name, "bytes": base64.b64encode(data).decode()} for name, data in self._found.items()
        ]
        self._path.parent.mkdir(exist_ok=True)
        self._path.write_text(json.dumps(told, indent=1) + "\n")


def _over_http(address: str) -> None:
    kept = _Kept("http")

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            head = f"{self.requestline}\n{self.headers}".replace("\n", "\r\n")
            kept.add(f"{self.command} {self.path}", head.encode() + body)
            connection = HTTPConnection(address)
            connection.request(self.command, self.path, body, dict(self.headers))
            answer = connection.getresponse()
            data = answer.read()
            self.send_response(answer.status)
            for name, value in answer.getheaders():
                if name.lower() not in ("date", "server", "content-length"):
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_POST = do_GET  # noqa: N815 - the library's word

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        print(server.server_address[1], flush=True)
        server.serve_forever()


def _over_grpc(address: str) -> None:
    kept, channel = _Kept("grpc"), grpc.insecure_channel(address)

    class Handler(grpc.GenericRpcHandler):
        def service(self, details: Any) -> grpc.RpcMethodHandler:
            def forward(messages: Any, _: grpc.ServicerContext) -> Any:
                for message in messages:
                    kept.add(details.method, message)
                    yield channel.unary_unary(details.method)(message)

            return grpc.stream_stream_rpc_method_handler(forward)

    server = grpc.server(ThreadPoolExecutor(4), handlers=(Handler(),))
    print(server.add_insecure_port("127.0.0.1:0"), flush=True)
    server.start()
    server.wait_for_termination()


if __name__ == "__main__":
    ways: dict[str, Callable[[str], None]] = {"http": _over_http, "grpc": _over_grpc}
    ways[sys.argv[1]](sys.argv[2])
