"""Pages of other origins: preflights, what is told with each answer, and who may change what is served."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from api.auth import AdminAuth
from api.budget import ByteBudget
from api.errors import Forbidden, Unauthorized
from api.http.cross_origin import CrossOrigin
from api.http.middleware import MiddlewareOptions, RequestMiddleware
from hotswap.errors import ModelNotFound
from tests.api.shape import refused

HERE, THERE = "http://camera.local:8000", "http://elsewhere.local"


class _Observer:
    def __init__(self) -> None:
        self.seen: list[tuple[str, str, int]] = []

    def request(self, method: str, path: str, status: int, seconds: float) -> None:
        self.seen.append((method, path, status))


def _ask(
    method: str, *origins: str, app: ASGIApp | None = None, path: str = "/x", **headers: str
) -> tuple[httpx.Response, _Observer]:
    """The answer of a gateway that allows these origins; without any it knows nothing of them."""
    observer = _Observer()
    parts = MiddlewareOptions(
        max_body_bytes=10,
        bodies=ByteBudget(100),
        request_timeout=5,
        not_ready=lambda: "no model serves yet",
        draining=lambda: False,
        observer=observer,
        cross_origin=CrossOrigin(origins) if origins else None,
    )
    named = {name.replace("_", "-"): value for name, value in headers.items()}

    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(RequestMiddleware(app or PlainTextResponse("fine"), parts))
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            return await client.request(method, path, headers=named)

    return asyncio.run(ask()), observer


def _preflight(*origins: str, origin: str = HERE, **more: str) -> tuple[httpx.Response, _Observer]:
    asked = {"access_control_request_method": "POST", "app": _refusing} | more
    return _ask("OPTIONS", *origins, origin=origin, **asked)  # type: ignore[arg-type]


async def _refusing(scope: Scope, receive: Receive, send: Send) -> None:
    """What the routes say of OPTIONS."""
    await PlainTextResponse("no", 405)(scope, receive, send)


def test_a_preflight_of_an_allowed_origin_is_answered_and_counted() -> None:
    wanted = "authorization, content-type, x-request-id"
    answer, observer = _preflight(HERE, access_control_request_headers=wanted)
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == HERE
    assert {"GET", "POST", "PUT"} <= set(answer.headers["access-control-allow-methods"].split(", "))
    assert answer.headers["access-control-allow-headers"] == wanted
    assert "access-control-allow-credentials" not in answer.headers
    assert "Origin" in answer.headers["vary"]
    assert answer.headers["x-request-id"]
    assert observer.seen == [("OPTIONS", "/x", 200)]


@pytest.mark.parametrize(
    ("origin", "method"),
    [
        (THERE, "POST"),
        ("null", "POST"),
        (f"{HERE}.evil.org", "POST"),
        (HERE.upper(), "GET"),
        (HERE, "DELETE"),
    ],
)
def test_a_preflight_of_others_is_forbidden_in_the_one_shape(origin: str, method: str) -> None:
    answer, observer = _preflight(HERE, origin=origin, access_control_request_method=method)
    assert "OKAWARI_CORS_ORIGINS" in refused(answer, 403, "forbidden")
    assert "access-control-allow-origin" not in answer.headers
    assert "Origin" in answer.headers["vary"]
    assert observer.seen == [("OPTIONS", "/x", 403)]


def test_under_v2_it_has_the_protocols_shape() -> None:
    answer, _ = _preflight(HERE, origin=THERE, path="/v2/models/m/infer")
    assert answer.status_code == 403
    assert set(answer.json()) == {"error"}


def test_without_the_setting_nothing_is_told() -> None:
    answer, _ = _preflight()
    refused(answer, 405, "method_not_allowed")
    plain, _ = _ask("GET", origin=HERE)
    assert not [name for name in (*answer.headers, *plain.headers) if name.startswith("access-control")]
    assert "vary" not in plain.headers


def test_options_that_is_no_preflight_is_the_routes_matter() -> None:
    for headers in ({"origin": HERE}, {"access_control_request_method": "POST"}):
        refused(_ask("OPTIONS", HERE, app=_refusing, **headers)[0], 405, "method_not_allowed")  # type: ignore[arg-type]


async def _unknown(scope: Scope, receive: Receive, send: Send) -> None:
    raise ModelNotFound("there is no model 'x'")


async def _broken(scope: Scope, receive: Receive, send: Send) -> None:
    raise ZeroDivisionError


async def _reading(scope: Scope, receive: Receive, send: Send) -> None:
    await Request(scope, receive).body()


@pytest.mark.parametrize(
    ("app", "path", "status"),
    [
        (None, "/x", 200),
        (_unknown, "/x", 404),
        (_unknown, "/v2/models/x", 404),
        (_broken, "/x", 500),
        (PlainTextResponse("no", 405), "/x", 405),
        (None, "/livez", 200),
        (None, "/readyz", 503),
    ],
)
def test_every_answer_tells_whether_the_page_may_read_it(app: ASGIApp | None, path: str, status: int) -> None:
    answer, _ = _ask("GET", HERE, app=app, path=path, origin=HERE)
    assert answer.status_code == status
    assert answer.headers["access-control-allow-origin"] == HERE
    exposed = set(answer.headers["access-control-expose-headers"].split(", "))
    assert {
        "X-Request-ID",
        "X-Model-Name",
        "X-Model-Version",
        "X-Model-Digest",
        "X-Model-Generation",
        "X-Detector-Version",
    } <= exposed
    other, _ = _ask("GET", HERE, app=app, path=path, origin=THERE)
    assert other.status_code == status
    assert "access-control-allow-origin" not in other.headers
    alone, _ = _ask("GET", HERE, app=app, path=path)
    assert [each.headers["vary"] for each in (answer, other, alone)] == ["Origin"] * 3


def test_an_error_that_the_gateway_makes_of_a_body_is_told_too() -> None:
    answer, _ = _ask("POST", HERE, app=_reading, origin=HERE, content_length="11")
    refused(answer, 413, "body_too_large")
    assert answer.headers["access-control-allow-origin"] == HERE


def test_a_star_allows_every_page_without_its_cookies() -> None:
    for origin in (HERE, THERE, "null"):
        assert _preflight("*", origin=origin)[0].headers["access-control-allow-origin"] == "*"
        answer, _ = _ask("GET", "*", origin=origin, cookie="a=b")
        assert answer.headers["access-control-allow-origin"] == "*"
        assert "access-control-allow-credentials" not in answer.headers


def _request(**headers: str) -> Request:
    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    return Request({"type": "http", "method": "POST", "headers": raw})


@pytest.mark.parametrize("origin", [HERE, "null", "http://[", "http://service:3000.evil.org", ""])
def test_a_page_of_another_origin_changes_nothing_without_a_token(origin: str) -> None:
    foreign: dict[str, Any] = {"host": "service:3000", "origin": origin}
    with pytest.raises(Forbidden):
        AdminAuth(None, exposed=False).check(_request(**foreign))
    with pytest.raises(Forbidden):
        AdminAuth(None, exposed=True, insecure=True).check(_request(**foreign))
    with pytest.raises(Unauthorized):
        AdminAuth("t", exposed=True).check(_request(**foreign))
    assert AdminAuth("t", exposed=True).check(_request(**foreign, authorization="Bearer t")) == "admin"


def test_a_page_of_the_service_itself_is_none_of_another_origin() -> None:
    own = _request(host="service:3000", origin="https://service:3000")
    assert AdminAuth(None, exposed=False).check(own) == "anonymous"
