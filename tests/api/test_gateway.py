"""The layer round every request, by itself: whatever the app inside does."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import httpx
import pytest
from starlette.responses import HTMLResponse, PlainTextResponse, Response, StreamingResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api import context
from api.budget import ByteBudget
from api.http.middleware import MiddlewareOptions, RequestMiddleware
from hotswap.errors import ModelNotFound
from tests.api.shape import refused


class _Observer:
    def __init__(self) -> None:
        self.seen: list[tuple[str, str, int]] = []

    def request(self, method: str, path: str, status: int, seconds: float) -> None:
        assert seconds >= 0
        self.seen.append((method, path, status))


def _ask(
    app: ASGIApp,
    path: str = "/x",
    *,
    draining: bool = False,
    not_ready: Callable[[], str | None] = lambda: None,
) -> tuple[httpx.Response, _Observer]:
    """The answer to one GET, and what was counted."""
    observer = _Observer()
    parts = MiddlewareOptions(
        max_body_bytes=10,
        bodies=ByteBudget(100),
        request_timeout=5,
        not_ready=not_ready,
        draining=lambda: draining,
        observer=observer,
    )

    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(RequestMiddleware(app, parts))
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            return await client.get(path)

    return asyncio.run(ask()), observer


def test_a_page_loads_nothing_from_elsewhere_and_other_answers_say_nothing_of_it() -> None:
    page, _ = _ask(HTMLResponse("<p>fine"))
    assert page.headers["content-security-policy"].startswith("default-src 'self' ")
    assert "frame-ancestors 'none'" in page.headers["content-security-policy"]
    assert page.headers["x-frame-options"] == "DENY"
    text, _ = _ask(PlainTextResponse("fine"))
    assert "content-security-policy" not in text.headers
    assert "x-frame-options" not in text.headers


@pytest.mark.parametrize("path", ["/x", "/livez", "/readyz", "/broken"])
def test_every_answer_is_what_it_says_it_is_and_tells_no_address(path: str) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if path == "/broken":
            raise ZeroDivisionError
        await PlainTextResponse("fine")(scope, receive, send)

    answer, _ = _ask(app, path)
    assert answer.headers.get_list("x-content-type-options") == ["nosniff"]
    assert answer.headers.get_list("referrer-policy") == ["same-origin"]


def test_an_answer_passes_with_its_request_id() -> None:
    answer, observer = _ask(PlainTextResponse("fine"))
    assert (answer.status_code, answer.text) == (200, "fine")
    assert len(answer.headers["x-request-id"]) == 32
    assert "connection" not in answer.headers
    assert observer.seen == [("GET", "/x", 200)]


@pytest.mark.parametrize("path", ["/x", "/livez", "/readyz"])
def test_while_draining_every_answer_closes_its_connection(path: str) -> None:
    answer, _ = _ask(PlainTextResponse("fine"), path, draining=True)
    assert answer.headers["connection"] == "close"


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (400, "invalid_argument"),
        (404, "not_found"),
        (405, "method_not_allowed"),
        (429, "overloaded"),
        (500, "internal_error"),
        (503, "unavailable"),
        (504, "deadline_exceeded"),
        (418, "refused"),
    ],
)
def test_errors_of_the_framework_get_our_shape(status: int, code: str) -> None:
    headers = {"Allow": "GET"}
    refused(_ask(PlainTextResponse("secret", status, headers))[0], status, code)
    streamed = _ask(StreamingResponse(iter(["sec", "ret"]), status, headers))[0]
    assert "secret" not in refused(streamed, status, code)
    assert streamed.headers["allow"] == "GET"


def test_an_app_that_breaks_is_an_internal_error_without_its_trace() -> None:
    async def broken(scope: Scope, receive: Receive, send: Send) -> None:
        raise ZeroDivisionError("secret")

    answer, observer = _ask(broken)
    assert "secret" not in refused(answer, 500, "internal_error")
    assert observer.seen == [("GET", "/x", 500)]


def test_an_error_of_ours_gets_its_status() -> None:
    async def unknown(scope: Scope, receive: Receive, send: Send) -> None:
        raise ModelNotFound("there is no model 'x'")

    assert "'x'" in refused(_ask(unknown)[0], 404, "model_not_found")


def test_an_app_that_breaks_after_it_began_to_answer_is_counted_and_not_answered_twice() -> None:
    async def half(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"half", "more_body": True})
        raise ZeroDivisionError

    sent: list[Message] = []
    observer = _Observer()
    parts = MiddlewareOptions(10, ByteBudget(100), 5, lambda: None, lambda: False, observer)
    asyncio.run(_drive(RequestMiddleware(half, parts), sent))
    assert [each["type"] for each in sent] == ["http.response.start", "http.response.body"]
    assert observer.seen == [("GET", "/x", 200)]


def test_a_client_that_left_is_counted_as_499() -> None:
    async def silent(scope: Scope, receive: Receive, send: Send) -> None:
        return

    observer = _Observer()
    asyncio.run(
        _drive(
            RequestMiddleware(
                silent, MiddlewareOptions(10, ByteBudget(100), 5, lambda: None, lambda: False, observer)
            ),
            [],
        )
    )
    assert observer.seen == [("GET", "/x", 499)]


async def _drive(app: ASGIApp, sent: list[Message]) -> None:
    async def receive() -> Message:
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        sent.append(message)

    await app({"type": "http", "method": "GET", "path": "/x", "headers": []}, receive, send)


def test_health_is_answered_without_the_app() -> None:
    async def never(scope: Scope, receive: Receive, send: Send) -> None:
        raise AssertionError

    assert _ask(never, "/livez")[0].json() == _ask(never, "/healthz")[0].json() == {"ok": True, "team": None}
    assert _ask(never, "/readyz")[0].json() == {"ready": True}
    unready = _ask(never, "/readyz", not_ready=lambda: "no model serves yet")[0]
    assert refused(unready, 503, "not_ready") == "no model serves yet"
    assert unready.headers["retry-after"]


def test_what_is_no_request_passes_untouched() -> None:
    """An error in the lifespan would leave a service without its parts."""
    passed: list[Scope] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        passed.append(scope)

    gateway = RequestMiddleware(
        app, MiddlewareOptions(10, ByteBudget(100), 5, lambda: None, lambda: False, _Observer())
    )
    asyncio.run(gateway({"type": "lifespan"}, None, None))  # type: ignore[arg-type]
    assert passed == [{"type": "lifespan"}]


def test_every_request_has_its_own_deadline() -> None:
    deadlines: list[float] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        deadlines.append(context.current.get().deadline - time.monotonic())
        await Response()(scope, receive, send)

    _ask(app)
    assert 0 < deadlines[0] <= 5
