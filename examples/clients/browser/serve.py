"""Serve the page beside the service: browsers let a page ask only the address that it came from.

In production the web server that holds your pages does the same: it passes `/predict` on.

usage: python examples/clients/browser/serve.py [--port 8000] [--service http://127.0.0.1:3000]
"""

from __future__ import annotations

import argparse
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

PAGE = Path(__file__).with_name("index.html")
_MOST_BYTES = 10_000_000


class Handler(BaseHTTPRequestHandler):
    """The page, and `/predict` passed on to the service."""

    service = ""

    def do_GET(self) -> None:
        """The page."""
        if self.path != "/":
            self.send_error(404)
            return
        self._reply(200, "text/html; charset=utf-8", PAGE.read_bytes())

    def do_POST(self) -> None:
        """Pass a picture on, and the answer back."""
        length = int(self.headers.get("Content-Length") or 0)
        if self.path != "/predict" or not 0 < length <= _MOST_BYTES:
            self.send_error(404 if self.path != "/predict" else 413)
            return
        connection = HTTPConnection(self.service, timeout=60)
        try:
            kind = {"Content-Type": self.headers["Content-Type"]}
            connection.request("POST", "/predict", self.rfile.read(length), kind)
            answer = connection.getresponse()
            self._reply(answer.status, "application/json", answer.read())
        except OSError as error:
            self._reply(502, "application/json", b'{"error": {"message": "the service cannot be reached"}}')
            self.log_error("%s", error)
        finally:
            connection.close()

    def _reply(self, status: int, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def main() -> None:
    """Serve until interrupted."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--service", default="http://127.0.0.1:3000")
    words = parser.parse_args()
    Handler.service = urlsplit(words.service).netloc
    with ThreadingHTTPServer(("127.0.0.1", words.port), Handler) as server:
        print(f"http://127.0.0.1:{server.server_address[1]}/", flush=True)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            print()


if __name__ == "__main__":
    main()
