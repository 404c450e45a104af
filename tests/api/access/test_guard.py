"""What the guard does where the frameworks see more, or less, than the table."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from starlette.types import Receive, Send
from starlette.types import Scope as HttpScope

from api import context
from api.access import guard
from api.access.guard import AccessGuard
from api.access.identity import EVERYTHING, Identity, Scope
from api.access.needs import Need
from api.auth import AdminAuth
from api.budget import ByteBudget
from api.context import RequestContext
from api.errors import Unauthorized
from api.http.middleware import MiddlewareOptions, RequestMiddleware
from api.http.path_prefix import PathPrefix
from tests.api.shape import refused
from tests.api.test_routes import _served


class _Unobserved:
    def request(self, method: str, path: str, status: int, seconds: float) -> None:
        assert seconds >= 0


def test_a_path_that_a_framework_takes_for_another_changes_nothing(tmp_path: Path) -> None:
    """Starlette's patterns end before a line feed at the end of a path."""
    for required in (False, True):
        auth = AccessGuard(AdminAuth("secret", exposed=True), required=required)
        with _served(tmp_path / str(required), auth=auth) as wire:
            bearer = {"authorization": "Bearer secret"}
            assert wire("PUT", "/models/m/target", json={"target": "v2"}, headers=bearer).status_code == 200
            for sent in ({}, bearer):
                answer = wire("PUT", "/models/m/target%0A", json={"target": "v1"}, headers=sent)
                assert answer.status_code == (404 if required else 401)
            assert wire("GET", "/models/m", headers=bearer).json()["target"] == "v2"


def test_a_guarded_path_or_method_that_there_is_not_is_told_without_reading_on(tmp_path: Path) -> None:
    with _served(tmp_path, auth=AccessGuard(AdminAuth("secret", exposed=True), required=True)) as wire:
        refused(wire("GET", "/nothing"), 404, "not_found")
        wrong = wire("PATCH", "/models/m")
        assert refused(wrong, 405, "method_not_allowed")
        assert wrong.headers["allow"] == "DELETE, GET"
        assert wire("POST", "/v1/models/m:classify").status_code == 501
        refused(wire("GET", "/models"), 401, "unauthorized")
        assert wire("GET", "/readyz").status_code == 200


def test_the_admin_token_alone_can_close_asking_and_reading(tmp_path: Path) -> None:
    with _served(tmp_path, auth=AccessGuard(AdminAuth("secret", exposed=False), required=True)) as wire:
        for method, path in (("GET", "/models"), ("POST", "/v1/models/m:predict")):
            assert wire(method, path).status_code == 401
            assert wire(method, path, headers={"authorization": "Bearer x"}).status_code == 403
            with_token = wire(method, path, headers={"authorization": "Bearer secret"})
            assert with_token.status_code in (200, 400)


@pytest.mark.parametrize(
    ("caller", "need", "allowed"),
    [
        (None, Need.WRITE, False),
        (Identity("a", "a"), Need.WRITE, False),
        (Identity("a", "a", frozenset({Scope.PREDICT})), Need.WRITE, False),
        (Identity("a", "a", frozenset({Scope.MODELS_WRITE})), Need.WRITE, True),
        (Identity("a", "a", frozenset({Scope.MODELS_WRITE})), Need.AUDIT, False),
        (Identity("a", "a", EVERYTHING), Need.AUDIT, True),
    ],
)
def test_a_handler_of_changes_looks_again(caller: Identity | None, need: Need, allowed: bool) -> None:
    state = replace(RequestContext("r", 0.0), identity=caller)
    token = context.current.set(state)
    try:
        if allowed:
            assert guard.actor(need) == "a"
        else:
            with pytest.raises(Unauthorized):
                guard.actor(need)
    finally:
        context.current.reset(token)


@pytest.mark.anyio
@pytest.mark.parametrize("path", ["/models/m/load", "/mora/models/m/load", "/mora/mora/models/m/load"])
async def test_a_prefix_opens_nothing(path: str) -> None:
    async def app(scope: HttpScope, receive: Receive, send: Send) -> None:
        raise AssertionError(f"let in: {scope['path']}")

    auth = AccessGuard(AdminAuth("secret", exposed=True), required=True)
    options = MiddlewareOptions(
        max_body_bytes=100,
        bodies=ByteBudget(1000),
        request_timeout=5,
        not_ready=lambda: None,
        draining=lambda: False,
        observer=_Unobserved(),
        prefix=PathPrefix("/mora"),
        guard=lambda: auth,
    )
    transport = httpx.ASGITransport(RequestMiddleware(app, options))
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        answer = await client.post(path)
    assert answer.status_code == (404 if path.startswith("/mora/mora") else 401)
