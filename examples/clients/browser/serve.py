"""Serves the example page and forwards its calls: browsers allow a page to call only its own origin.

In production your web server does the same: it forwards `/predict` and `/models` to the service.

usage: python examples/clients/browser/serve.py [--port 8000] [--service http://127.0.0.1:3000]
"""

from __future__ import annotations

import argparse
import json
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

HERE = Path(__file__).parent
OWN = {
    "/": ("text/html; charset=utf-8", HERE / "index.html"),
    "/example.jpg": ("image/jpeg", HERE.parents[1] / "shapes" / "pictures" / "shapes-1117.jpg"),
}
_MOST_BYTES = 10_000_000


class Handler(BaseHTTPRequestHandler):
    """Serves the page, and forwards its two calls to the service."""

    service = ""
    connect: type[HTTPConnection] = HTTPConnection

    def do_GET(self) -> None:
        """The page, its example, or the list of models."""
        if self.path in OWN:
            kind, path = OWN[self.path]
            self._reply(200, kind, path.read_bytes())
        elif self.path == "/models":
            self._pass_on("GET")
        else:
            self._refuse(404, "there is no such path")

    def do_POST(self) -> None:
        """Pass a picture on, and the answer back."""
        length = int(self.headers.get("Content-Length") or 0)
        if self.path != "/predict":
            self._refuse(404, "there is no such path")
        elif length > _MOST_BYTES:
            self._leave(length)
            self._refuse(413, f"a picture may have {_MOST_BYTES:,} bytes")
        else:
            self._pass_on("POST", self.rfile.read(length))

    def _pass_on(self, method: str, body: bytes | None = None) -> None:
        connection = self.connect(self.service, timeout=60)
        try:
            kind = {"Content-Type": self.headers["Content-Type"]} if body else {}
            connection.request(method, self.path, body, kind)
            answer = connection.getresponse()
            self._reply(answer.status, "application/json", answer.read())
        except (OSError, HTTPException) as error:
            self.log_error("%s", error)
            self._refuse(502, f"the service cannot be reached at {self.service}")
        finally:
            connection.close()

    def _leave(self, length: int) -> None:
        # A browser reads no answer before it has sent everything.
        while length > 0 and (piece := self.rfile.read(min(length, 65536))):
            length -= len(piece)

    def _refuse(self, status: int, message: str) -> None:
        self._reply(status, "application/json", json.dumps({"error": {"message": message}}).encode())

    def _reply(self, status: int, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def main() -> None:
    """Serve until interrupted."""
    parser = argparse.ArgumentParser(description="A page that shows what the service finds in a picture.")
    parser.add_argument("--port", type=int, default=8000, help="0: any that is free")
    parser.add_argument("--service", default="http://127.0.0.1:3000", help="where it answers over HTTP")
    words = parser.parse_args()
    place = urlsplit(words.service)
    if place.scheme not in ("http", "https") or not place.netloc:
        parser.error(f"--service {words.service}: write http://HOST:PORT or https://HOST:PORT")
    Handler.service = place.netloc
    Handler.connect = HTTPSConnection if place.scheme == "https" else HTTPConnection
    with ThreadingHTTPServer(("127.0.0.1", words.port), Handler) as server:
        print(f"http://127.0.0.1:{server.server_address[1]}/", flush=True)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            print()


if __name__ == "__main__":
    main()
