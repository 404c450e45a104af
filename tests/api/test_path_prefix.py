"""The prefix of a path: whose word counts, and that it is off before limits and routes read the path."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from api import context
from api.budget import ByteBudget
from api.context import PEER
from api.http.middleware import MiddlewareOptions, RequestMiddleware, RouteLimits
from api.http.path_prefix import PathPrefix
from common.url_prefix import OWN_NAMES, is_own, url_prefix
from telemetry import routes

PROXY, OTHER = "10.0.0.7", "10.0.1.7"


class _Observer:
    def __init__(self) -> None:
        self.seen: list[tuple[str, int]] = []

    def request(self, method: str, path: str, status: int, seconds: float) -> None:
        self.seen.append((path, status))


async def _shows(scope: Scope, receive: Receive, send: Send) -> None:
    """What the service sees of the request."""
    await Request(scope, receive).body()
    seen = {"path": scope["path"], "raw": scope["raw_path"].decode(), "prefix": context.current.get().prefix}
    await JSONResponse(seen)(scope, receive, send)


def _ask(
    path: str, prefix: PathPrefix, *, peer: str | None = PROXY, method: str = "GET", **options: Any
) -> tuple[httpx.Response, _Observer]:
    observer = _Observer()
    parts = MiddlewareOptions(
        max_body_bytes=10,
        bodies=ByteBudget(100),
        request_timeout=5,
        not_ready=lambda: None,
        draining=lambda: False,
        observer=observer,
        prefix=prefix,
        routes={"/large": RouteLimits(50, 5)},
    )
    app = RequestMiddleware(_shows, parts)

    async def from_peer(scope: Scope, receive: Receive, send: Send) -> None:
        await app({**scope, PEER: peer}, receive, send)

    async def ask(connected: ASGIApp) -> httpx.Response:
        transport = httpx.ASGITransport(connected)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            return await client.request(method, path, **options)

    return asyncio.run(ask(from_peer)), observer


@pytest.mark.parametrize(
    ("asked", "path"),
    [
        ("/modemora/predict", "/predict"),
        ("/predict", "/predict"),
        ("/modemora/v2/models/m%2F1", "/v2/models/m/1"),
        ("/modemora/", "/"),
        ("/modemorable", "/modemorable"),
        ("/modemora/modemora/predict", "/modemora/predict"),
    ],
)
def test_the_configured_prefix_is_taken_off_once_where_a_proxy_left_it(asked: str, path: str) -> None:
    answer, observer = _ask(asked, PathPrefix("modemora/"))
    assert (answer.json()["path"], answer.json()["prefix"]) == (path, "/modemora")
    raw = asked if asked == "/modemorable" else asked.removeprefix("/modemora")
    assert answer.json()["raw"] == raw
    assert observer.seen == [(path, 200)]


def test_limits_are_those_of_the_path_without_its_prefix() -> None:
    for asked in ("/large", "/modemora/large"):
        assert _ask(asked, PathPrefix("/modemora"), method="POST", content=b"x" * 50)[0].status_code == 200
        assert _ask(asked, PathPrefix("/modemora"), method="POST", content=b"x" * 51)[0].status_code == 413
    answer, _ = _ask("/modemora/v2/x", PathPrefix("/modemora"), method="POST", content=b"x" * 11)
    assert isinstance(answer.json()["error"], str), "the shape of errors is that of the path, too"


def test_health_is_answered_under_the_prefix() -> None:
    assert _ask("/modemora/readyz", PathPrefix("/modemora"))[0].json() == {"ready": True}


def test_the_bare_prefix_leads_to_its_page() -> None:
    answer, _ = _ask("/modemora", PathPrefix("/modemora"))
    assert (answer.status_code, answer.headers["location"]) == (308, "/modemora/")
    assert _ask("/modemora", PathPrefix("/modemora"), method="POST")[0].json()["path"] == "/"


@pytest.mark.parametrize(
    ("peer", "values", "prefix"),
    [
        (PROXY, ["/apps/mora"], "/apps/mora"),
        (f"::ffff:{PROXY}", ["/apps/mora/"], "/apps/mora"),
        ("fd00::1%eth0", ["/apps/mora"], "/apps/mora"),
        (OTHER, ["/apps/mora"], ""),
        (None, ["/apps/mora"], ""),
        ("a socket", ["/apps/mora"], ""),
        (PROXY, ["/apps/mora", "/evil"], ""),
        (PROXY, ["/evil, /apps/mora"], ""),
        (PROXY, ["//evil.example/x"], "/evil.example/x"),
        (PROXY, ["/../x"], ""),
        (PROXY, ['/x"><script>'], ""),
        (PROXY, ["https://evil.example"], ""),
        (PROXY, ["/" + "x" * 200], ""),
        (PROXY, [""], ""),
    ],
)
def test_only_a_trusted_proxy_forwards_a_prefix(peer: str | None, values: list[str], prefix: str) -> None:
    given = PathPrefix("", ("10.0.0.0/24", "fd00::/8"))
    headers = [("x-forwarded-prefix", value) for value in values]
    answer, _ = _ask("/predict", given, peer=peer, headers=headers)
    assert answer.json() == {"path": "/predict", "raw": "/predict", "prefix": prefix}


def test_a_forwarded_prefix_comes_before_the_configured_one_and_either_is_taken_off() -> None:
    given = PathPrefix("/modemora", (PROXY,))
    headers = {"x-forwarded-prefix": "/apps"}
    for asked in ("/apps/predict", "/modemora/predict", "/predict"):
        answer, _ = _ask(asked, given, headers=headers)
        assert (answer.json()["path"], answer.json()["prefix"]) == ("/predict", "/apps")


def test_a_forwarded_prefix_that_is_a_path_of_ours_is_told_and_not_taken_off() -> None:
    answer, _ = _ask("/models/m", PathPrefix("", (PROXY,)), headers={"x-forwarded-prefix": "/models"})
    assert (answer.json()["path"], answer.json()["prefix"]) == ("/models/m", "/models")


def test_without_proxies_and_prefix_nothing_is_read() -> None:
    answer, _ = _ask("/predict", PathPrefix(), headers={"x-forwarded-prefix": "/apps"})
    assert answer.json()["prefix"] == ""


def test_the_names_of_our_own_paths_are_complete() -> None:
    fixed = {path.split("/")[1] for path in routes._FIXED} - {""}
    templates = {name.split("/")[1] for _, name in routes._ROUTES}
    assert fixed | templates == OWN_NAMES
    assert is_own("/models")
    assert not is_own("")
    assert not is_own("/modemora/models")
    assert url_prefix("/") == url_prefix("") == ""


@pytest.mark.parametrize("text", ["/a b", "/a?b", "/a//b", "/..", "/.", "/a/../b", "/ä", "/a\n"])
def test_odd_prefixes_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a path prefix"):
        url_prefix(text)
