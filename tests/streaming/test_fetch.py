"""Which pictures are fetched for events: of allowed hosts, at public addresses, of a bounded size."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from streaming.fetch import FetchFailed, ImageFetcher, UrlPolicy, is_public

HOST = "127.0.0.1"


class _Pictures(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path.startswith("/to/"):
            self.send_response(302)
            self.send_header("Location", self.path.removeprefix("/to/"))
            self.end_headers()
            return
        status = int(self.path.strip("/")) if self.path.strip("/").isdigit() else 200
        self.send_response(status)
        self.end_headers()
        self.wfile.write(b"p" * (2_000 if self.path == "/large" else 10))

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """Where pictures are served, on loopback."""
    found = ThreadingHTTPServer((HOST, 0), _Pictures)
    thread = threading.Thread(target=found.serve_forever)
    thread.start()
    yield f"http://{HOST}:{found.server_port}"
    found.shutdown()
    thread.join()
    found.server_close()


def _fetched(url: str, policy: UrlPolicy) -> bytes:
    async def fetch() -> bytes:
        fetcher = ImageFetcher(policy, connections=2, seconds=5)
        try:
            return await fetcher.fetch(url)
        finally:
            await fetcher.close()

    return asyncio.run(fetch())


def _failure(url: str, policy: UrlPolicy) -> tuple[str, bool]:
    with pytest.raises(FetchFailed) as caught:
        _fetched(url, policy)
    return caught.value.reply.code, caught.value.reply.transient


HERE = UrlPolicy([HOST], [HOST], max_bytes=1_000)


def test_an_allowed_picture_is_fetched_also_behind_redirects(server: str) -> None:
    assert _fetched(f"{server}/a", HERE) == b"p" * 10
    assert _fetched(f"{server}/to//b", HERE) == b"p" * 10


@pytest.mark.parametrize(
    ("path", "code", "transient"),
    [
        ("/large", "image_too_large", False),
        ("/404", "image_http_404", False),
        ("/503", "image_http_503", True),
        ("/to/http://other.example/a", "url_not_allowed", False),
        ("/to/file:///etc/passwd", "url_not_allowed", False),
        ("/to//to//to//to//to//a", "url_not_allowed", False),
        ("/to/http://[x", "url_not_allowed", False),
    ],
)
def test_what_does_not_come_is_told_apart(server: str, path: str, code: str, transient: bool) -> None:
    assert _failure(f"{server}{path}", HERE) == (code, transient)


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd",
        "ftp://a.example/x",
        "http://user@a.example/",
        "http://b.example/",
        "http://a.example.evil/",
        "http://[::1",
        "nothing",
        "s3://bucket/key",
    ],
)
def test_other_urls_are_refused_before_anything_is_asked(url: str) -> None:
    assert _failure(url, UrlPolicy(["a.example"])) == ("url_not_allowed", False)


def test_an_allowed_host_at_an_address_that_is_not_public_is_refused(server: str) -> None:
    assert _failure(f"{server}/a", UrlPolicy([HOST])) == ("url_not_allowed", False)
    port = server.rpartition(":")[2]
    assert _failure(f"http://localhost:{port}/a", UrlPolicy(["localhost"])) == ("url_not_allowed", False)
    assert _fetched(f"http://localhost:{port}/a", UrlPolicy(["localhost"], ["localhost"])) == b"p" * 10


def test_a_name_that_cannot_be_asked_for_is_refused() -> None:
    for host in ("a..example.org", f"{'x' * 64}.example.org"):
        assert _failure(f"http://{host}/x", UrlPolicy(["*.example.org"])) == ("url_not_allowed", False)


def test_names_below_a_name_are_allowed_by_a_star() -> None:
    policy = UrlPolicy(["*.a.example"])
    assert policy.refusal("https://x.a.example/1") is None
    assert policy.refusal("https://a.example/1") is not None
    assert policy.refusal("https://xa.example/1") is not None


def test_nobody_there_is_a_passing_failure() -> None:
    assert _failure("http://127.0.0.1:1/a", HERE) == ("image_unreachable", True)


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("93.184.216.34", True),
        ("2606:4700::1111", True),
        ("10.0.0.1", False),
        ("127.0.0.1", False),
        ("169.254.169.254", False),
        ("100.64.0.1", False),
        ("::1", False),
        ("fe80::1%eth0", False),
        ("::ffff:10.0.0.1", False),
        ("2002:0a00:0001::", False),
        ("64:ff9b::a00:1", False),
        ("::a00:1", False),
        ("224.0.0.1", False),
        ("0.0.0.0", False),  # noqa: S104
        ("name", False),
    ],
)
def test_public_addresses(address: str, public: bool) -> None:
    assert is_public(address) is public
