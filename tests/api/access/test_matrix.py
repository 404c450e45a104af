"""Every route and every method has a row that says what it needs, and each scope opens what it should."""

from __future__ import annotations

import asyncio
import itertools
import re
from collections.abc import Iterator
from functools import cache
from typing import Any

import grpc
import httpx
import pytest
from fastapi import FastAPI
from starlette.responses import PlainTextResponse
from starlette.routing import Mount

from api.access import needs
from api.access.bearer_tokens import BearerTokens, TokenRules
from api.access.guard import AccessGuard
from api.access.identity import Scope
from api.access.needs import GRPC, HTTP, Need
from api.access.signing_keys import SigningKeys
from api.auth import AdminAuth
from api.budget import ByteBudget
from api.grpc.services import offered
from api.http import management
from api.http.middleware import MiddlewareOptions, RequestMiddleware
from api.open_inference import not_supported
from api.open_inference.not_supported import NotOffered
from telemetry.routes import route_of
from tests.api.grpc.calling import Code
from tests.api.grpc.protocol import parts_of, service_parts
from tests.api.grpc.served import served
from tests.hotswap.world import live
from tests.support.identity_server import AUDIENCE, IdentityServer, identity_server

#: Routes of the middleware and of BentoML, in no table of routes here; the end-to-end test compares.
_OTHERS = {
    *(("GET", path) for path in ("/livez", "/readyz", "/healthz", "/", "/schema.json")),
    *(("POST", path) for path in ("/predict", "/predict/annotated")),
}


@cache
def _routes() -> frozenset[tuple[str, str]]:
    """Method and path, with a name in each gap, of every route of the app."""
    app = management.build(service_parts, lambda routes: routes)
    return frozenset(each for route in app.routes for each in _of(route)) | _OTHERS


def _of(route: Any) -> Iterator[tuple[str, str]]:
    """The routes in a route of any of the frameworks' kinds; those that refuse every call are left out."""
    if isinstance(route, Mount):
        yield "GET", f"{route.path}/x.js"
    elif getattr(route, "methods", None) and getattr(route, "path", None):
        path = re.sub(r"\{[^}]*\}", "v1", route.path)
        yield from ((method, path) for method in route.methods if method != "HEAD")
    elif not isinstance(route, NotOffered):
        inner = route.effective_candidates()  # of FastAPI; another kind fails here
        yield from (each for one in inner for each in _of(one))


def test_the_routes_are_found() -> None:
    assert len(_routes()) > 50
    assert {
        ("PUT", "/models/v1/target"),
        ("POST", "/v1/models/v1:predict"),
        ("GET", "/api/v1/audit"),
    } <= _routes()


def test_every_route_has_a_row() -> None:
    without = {(method, path) for method, path in _routes() if needs.http_need(method, path) is None}
    assert without == set()


def test_every_row_has_a_route() -> None:
    used = {(route_of(path), method) for method, path in _routes()} | {("/static_content", "GET")}
    assert {(path, method) for path, methods in HTTP.items() for method in methods} - used == set()


def test_a_route_without_a_row_would_be_noticed() -> None:
    app = FastAPI(openapi_url=None)
    app.add_api_route("/models/{name}/explode", lambda: None, methods=["POST"])
    ((method, path),) = (each for route in app.routes for each in _of(route))
    assert needs.http_need(method, path) is None


def test_every_method_of_grpc_has_a_row() -> None:
    with live() as world:
        services = offered(parts_of(world))
    methods = {
        name
        for handler in services.handlers
        for name in handler._method_handlers  # type: ignore[attr-defined]
    }
    assert len(methods) > 25
    assert methods == set(GRPC)


def test_a_method_without_a_row_is_for_administrators() -> None:
    assert needs.grpc_need("/okawari.v1.Predictor/Explode") is Need.AUDIT


@pytest.mark.parametrize(
    "path",
    [
        "/models/m/target\n",
        "/predict\n",
        "/predict/",
        "//predict",
        "/Predict",
        "/models/a/b/target",
        "/",
        "/x" * 500,
    ],
)
def test_a_path_that_only_resembles_another_is_none_of_its(path: str) -> None:
    assert needs.http_need("PUT", path) is needs.http_need("POST", path) is None


# --- what the rows say, held against what routes do ------------------------------------------------

#: Requests that change nothing though their method is POST.
_ASKING = {
    *("/predict", "/predict/annotated", "/infer_json", "/v1/models/v1:predict"),
    *("/v1/models/v1/versions/v1:predict", "/v2/models/v1/infer", "/v2/models/v1/versions/v1/infer"),
}
_HANDING_IN = {"/api/v1/detect", "/api/v1/detect/batch"}
_INDEX = "/v2/repository/index"
#: Reads that nobody is ever asked a token for.
_OPEN = {
    *("/", "/livez", "/readyz", "/healthz", "/health", "/metrics", "/redoc", "/docs.json", "/schema.json"),
    *("/documentation/x.js", "/api/v1/health", "/api/v1/metrics"),
    *("/v2", "/v2/", "/v2/health/live", "/v2/health/ready", "/v2/models/v1/ready"),
    "/v2/models/v1/versions/v1/ready",
}


def test_every_change_needs_the_scope_for_changes() -> None:
    changing = {
        (method, path)
        for method, path in _routes()
        if method != "GET" and path not in _ASKING | _HANDING_IN | {_INDEX}
    }
    assert len(changing) > 12
    assert {needs.http_need(*each) for each in changing} == {Need.WRITE}


def test_asking_handing_in_and_reading_need_theirs() -> None:
    assert {needs.http_need("POST", path) for path in _ASKING} == {Need.PREDICT}
    assert {needs.http_need("POST", path) for path in _HANDING_IN} == {Need.DETECT}
    reads = {path for method, path in _routes() if method == "GET"}
    assert {path for path in reads if needs.http_need("GET", path) is Need.OPEN} == _OPEN
    assert {path for path in reads if needs.http_need("GET", path) is Need.AUDIT} == {"/api/v1/audit"}
    ours = {path for path in reads if path.startswith(("/models", "/api/v1/registry"))}
    assert {needs.http_need("GET", path) for path in ours} == {Need.READ}
    assert needs.http_need("POST", _INDEX) is Need.READ


def test_the_methods_of_grpc_need_what_their_names_say() -> None:
    by_need: dict[Need, set[str]] = {need: set() for need in Need}
    for method, need in GRPC.items():
        by_need[need].add(method.rpartition("/")[2])
    assert by_need[Need.WRITE] == {"RepositoryModelLoad", "RepositoryModelUnload"}
    assert by_need[Need.READ] == {"RepositoryIndex", "ListModels"}
    assert by_need[Need.METADATA] == {"ModelMetadata", "ModelConfig", "ModelStatistics"}
    assert by_need[Need.PREDICT] == {
        *("ModelInfer", "ModelStreamInfer", "Predict", "PredictStream"),
        *("GenerateEmbedding", "GenerateBatch", "GenerateEmbeddingStream"),
    }
    assert by_need[Need.OPEN] - set(not_supported.METHODS) == {
        *("Check", "Watch", "ServerReflectionInfo"),
        *("ServerLive", "ServerReady", "ModelReady", "ServerMetadata"),
    }


# --- scope x route -----------------------------------------------------------------------------------

_EXPECTED = {
    Need.OPEN: {None, *Scope},
    Need.PREDICT: {Scope.PREDICT, Scope.ADMIN},
    Need.DETECT: {Scope.DETECT, Scope.ADMIN},
    Need.METADATA: {Scope.PREDICT, Scope.MODELS_READ, Scope.MODELS_WRITE, Scope.ADMIN},
    Need.READ: {Scope.MODELS_READ, Scope.MODELS_WRITE, Scope.ADMIN},
    Need.WRITE: {Scope.MODELS_WRITE, Scope.ADMIN},
    Need.AUDIT: {Scope.ADMIN},
}


@pytest.fixture(scope="module")
def provider() -> Iterator[IdentityServer]:
    with identity_server() as server:
        yield server


def _guard(provider: IdentityServer, *, required: bool) -> AccessGuard:
    from adapters.identity_provider import IdentityProvider

    rules = TokenRules(provider.issuer, AUDIENCE, ("ES256",))
    tokens = BearerTokens(rules, SigningKeys(IdentityProvider(provider.issuer).keys))
    return AccessGuard(AdminAuth("secret", exposed=True), tokens=tokens, required=required)


class _Unobserved:
    def request(self, method: str, path: str, status: int, seconds: float) -> None:
        assert seconds >= 0


def _wire(guard: AccessGuard) -> RequestMiddleware:
    """The layer that decides, before an app that answers everything."""
    return RequestMiddleware(
        PlainTextResponse("in"),
        MiddlewareOptions(
            max_body_bytes=100,
            bodies=ByteBudget(1000),
            request_timeout=5,
            not_ready=lambda: None,
            draining=lambda: False,
            observer=_Unobserved(),
            guard=lambda: guard,
        ),
    )


def _answers(provider: IdentityServer, required: bool) -> dict[tuple[str, str, Scope | None], httpx.Response]:
    """What every route answers to a token with each scope, and to none."""
    bearer = {scope: {"authorization": f"Bearer {provider.token(scope=scope)}"} for scope in Scope}
    app = _wire(_guard(provider, required=required))

    async def ask() -> dict[tuple[str, str, Scope | None], httpx.Response]:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
            return {
                (method, path, scope): await client.request(method, path, headers=bearer.get(scope))  # type: ignore[arg-type]
                for (method, path), scope in itertools.product(_routes(), (None, *Scope))
            }

    return asyncio.run(ask())


@pytest.mark.slow
@pytest.mark.parametrize("required", [True, False])
def test_each_scope_opens_its_routes_and_no_others(provider: IdentityServer, required: bool) -> None:
    wrong = []
    for (method, path, scope), answer in _answers(provider, required).items():
        need = needs.http_need(method, path)
        assert need is not None
        free = not (required or need.always or need is Need.DETECT)
        # A device's own token is looked at behind this layer.
        by_device = need is Need.DETECT and scope is None
        allowed = free or by_device or scope in _EXPECTED[need]
        expected = 200 if allowed else 401 if scope is None else 403
        if answer.status_code != expected:
            wrong.append((method, path, scope, answer.status_code, expected))
        if answer.status_code == 403 and not path.startswith(("/v1/", "/v2")):
            error = answer.json()["error"]
            assert error["code"] == "insufficient_scope"
            assert all(each in error["message"] for each in need.scopes)
            assert 'error="insufficient_scope"' in answer.headers["www-authenticate"]
    assert wrong == []


@pytest.mark.anyio
@pytest.mark.parametrize("required", [True, False])
async def test_each_scope_opens_its_methods_and_no_others(provider: IdentityServer, required: bool) -> None:
    bearer = {scope: (("authorization", f"Bearer {provider.token(scope=scope)}"),) for scope in Scope}
    wrong = []
    async with served("m:v1", auth=_guard(provider, required=required)) as one:
        for (method, need), scope in itertools.product(GRPC.items(), (None, *Scope)):
            code = await _code(one.channel, method, bearer.get(scope) if scope else None)
            free = not (required or need.always)
            refused = Code.UNAUTHENTICATED if scope is None else Code.PERMISSION_DENIED
            allowed = free or scope in _EXPECTED[need]
            if (code is refused) == allowed or (allowed and code is Code.INTERNAL):
                wrong.append((method, scope, code))
    assert wrong == []


async def _code(channel: Any, method: str, metadata: Any) -> grpc.StatusCode:
    """How a call with an empty message ends; what watches is left after its first answer."""
    call = channel.unary_stream(method)(b"", metadata=metadata)
    try:
        async for _ in call:
            if method.endswith("/Watch"):
                call.cancel()
                return Code.OK
    except grpc.aio.AioRpcError as error:
        return error.code()
    return Code.OK
