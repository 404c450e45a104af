"""All routes in this process, over a world of fakes: what each reads, calls and refuses."""

from __future__ import annotations

import asyncio
import base64
import functools
import gzip
import json
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from api import context, errors
from api.access.guard import AccessGuard
from api.auth import AdminAuth
from api.budget import ByteBudget
from api.http import management
from api.http.middleware import MiddlewareOptions, RequestMiddleware
from api.parts import ServiceParts
from registry.audit_file import AuditFile
from registry.model_registry import ModelRegistry
from registry.promotion import Promotions
from registry.registration import Registrations
from tests.api.grpc.protocol import parts_of
from tests.api.shape import refused
from tests.hotswap.world import live
from tests.support.registry_memory import RegistryMemory

_REGISTRY = "/api/v1/registry/models"
_PICTURE = b"\xff\xd8 a picture"


@dataclass
class Wire:
    """Somebody who asks; each request runs on a loop of its own, as no state is kept between them."""

    app: ASGIApp
    parts: ServiceParts

    def __call__(self, method: str, path: str, **options: Any) -> httpx.Response:
        async def ask() -> httpx.Response:
            transport = httpx.ASGITransport(self.app)
            async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
                return await client.request(method, path, **options)

        return asyncio.run(ask())


class _Unobserved:
    def request(self, method: str, path: str, status: int, seconds: float) -> None:
        assert seconds >= 0


def _wrapped(app: ASGIApp, parts: ServiceParts) -> ASGIApp:
    options = MiddlewareOptions(
        max_body_bytes=parts.max_body_bytes,
        bodies=ByteBudget(10_000_000),
        request_timeout=30,
        not_ready=parts.not_ready,
        draining=lambda: False,
        observer=_Unobserved(),
        guard=lambda: parts.auth,
    )
    return RequestMiddleware(app, options)


_PARTS: list[ServiceParts] = []


@functools.cache
def _routes() -> ASGIApp:
    """Built once, as in the service: every request asks for the parts."""
    return management.build(lambda: _PARTS[-1], lambda routes: routes)


@contextmanager
def _served(folder: Path, **changes: Any) -> Iterator[Wire]:
    """All routes over a model m with v1 and v2, both registered."""
    with live("m:v1", "m:v2") as world:
        view = world.reconciler.view
        registry = ModelRegistry(RegistryMemory())  # type: ignore[arg-type]
        promotions = Promotions(registry, world.control, view, world.source, world.store)
        roots = (folder / "models",)
        parts = replace(
            parts_of(world),
            registry=registry,
            promotions=promotions,
            audit=AuditFile(folder / "state"),
            registrations=Registrations(
                registry, promotions.look, base=folder, roots=roots, bring=lambda path, tag: None
            ),
            **changes,
        )
        for version in (1, 2):
            registry.register("m", version, f"models/m/v{version}")

        _PARTS.append(parts)
        wire = Wire(_wrapped(_routes(), parts), parts)
        assert wire("POST", "/api/v1/reload").status_code in (200, 401)
        asyncio.run(view.wait_until(lambda: world.serving() == "v2", 5))
        yield wire


@pytest.fixture
def wire(tmp_path: Path) -> Iterator[Wire]:
    with _served(tmp_path) as served:
        yield served


@pytest.mark.slow
def test_models_are_shown_and_targets_set(wire: Wire) -> None:
    (model,) = wire("GET", "/models").json()["models"]
    assert (model["name"], model["serving"]) == ("m", "v2")
    changed = wire("PUT", "/models/m/target", json={"target": 1, "expected_current": "v2", "reason": "r"})
    assert (changed.status_code, changed.json()["target"], changed.json()["serving"]) == (200, "v1", "v1")
    assert wire("HEAD", "/models/m").status_code == 200
    refused(wire("PUT", "/models/m/target", json={"target": "v9"}), 404, "version_not_found")
    refused(wire("GET", "/models/n"), 404, "model_not_found")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "status", "code"),
    [
        ({"content": b"{"}, 400, "invalid_argument"),
        ({"json": {}}, 400, "invalid_argument"),
        ({"json": {"target": "v1", "more": 1}}, 400, "invalid_argument"),
        ({"content": b"x", "headers": {"content-type": "text/plain"}}, 415, "unsupported_media_type"),
        ({"content": b" " * 65_537}, 413, "body_too_large"),
        ({"content": gzip.compress(b" " * 65_537), "headers": {"content-encoding": "gzip"}}, 413, None),
    ],
)
def test_a_small_body_is_held_to_its_limits(
    wire: Wire, options: dict[str, Any], status: int, code: str | None
) -> None:
    answer = wire("PUT", "/models/m/target", **options)
    refused(answer, status, code or answer.json()["error"]["code"])
    assert wire("GET", "/models/m").json()["serving"] == "v2"


def test_a_wrong_method_is_told_all_of_the_path(wire: Wire) -> None:
    answer = wire("POST", f"{_REGISTRY}/m/1")
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, PATCH")


def test_changes_need_the_token_before_their_body_is_read(tmp_path: Path) -> None:
    with _served(tmp_path, auth=AccessGuard(AdminAuth("secret", exposed=True))) as wire:
        for method, path in (
            ("PUT", "/models/m/target"),
            ("POST", "/api/v1/reload"),
            ("POST", _REGISTRY),
            ("PUT", f"{_REGISTRY}/m/1/activate"),
            ("GET", "/api/v1/audit"),
        ):
            refused(wire(method, path, content=b"{"), 401, "unauthorized")
            wrong = wire(method, path, content=b"{", headers={"authorization": "Bearer x"})
            refused(wrong, 403, "forbidden")
        for path in ("/v2/repository/models/m/load", "/v2/repository/models/m/unload"):
            assert wire("POST", path).status_code == 401
        told = wire("GET", "/api/v1/audit", headers={"authorization": "Bearer secret"})
        assert told.json() == {"records": []}


def test_texts(wire: Wire) -> None:
    assert wire("GET", "/metrics").headers["content-type"].startswith("text/plain")
    paths = wire("GET", "/docs.json").json()["paths"]
    assert {"/models", f"{_REGISTRY}/{{model_name}}/rollback", "/api/v1/audit"} <= set(paths)
    assert "redoc.standalone.js" in wire("GET", "/redoc").text


def test_production_moves_and_goes_back(wire: Wire) -> None:
    # A slot that is kept at a version does not follow production.
    assert wire("PUT", "/models/m/target", json={"target": "v2"}).status_code == 200
    first = wire("PUT", f"{_REGISTRY}/m/1/activate", json={"reason": "first"})
    assert first.status_code == 200, first.text
    assert (first.json()["status"], first.json()["target"], first.json()["serving"]) == (
        "production",
        "v2",
        2,
    )
    assert wire("PUT", f"{_REGISTRY}/m/v2/activate").json()["version"] == 2
    assert wire("POST", f"{_REGISTRY}/m/rollback").json()["version"] == 1
    refused(wire("POST", f"{_REGISTRY}/m/rollback"), 409, "conflict")
    refused(wire("PUT", f"{_REGISTRY}/m/1/archive"), 409, "conflict")
    assert wire("PUT", f"{_REGISTRY}/m/2/archive", json={}).json()["status"] == "archived"
    history = wire("GET", f"{_REGISTRY}/m/history", params={"limit": 4}).json()["history"]
    assert [one["action"] for one in history] == ["archive", "rollback", "activate", "activate"]
    assert wire("GET", f"{_REGISTRY}/m/history?at=2100-01-01T00:00:00Z").json() == {"served": []}


def test_aliases_and_descriptions(wire: Wire) -> None:
    alias = f"{_REGISTRY}/m/aliases/canary"
    assert wire("PUT", alias, json={"version": 2}).json()["aliases"] == ["canary"]
    (entry,) = wire("GET", _REGISTRY, params={"alias": "canary"}).json()["models"]
    assert entry["version"] == 2
    assert wire("DELETE", alias, params={"reason": "r"}).json()["aliases"] == []
    assert wire("DELETE", alias).status_code == 404
    described = wire("PATCH", f"{_REGISTRY}/m/1", json={"tags": {"a": "b"}})
    assert described.json()["tags"] == {"a": "b"}
    assert wire("GET", f"{_REGISTRY}/m/1").json() == described.json()


@pytest.mark.parametrize(
    ("method", "path", "json_body", "status"),
    [
        ("GET", "?status=best", None, 422),
        ("GET", "?more=1", None, 422),
        ("GET", "/m/history?at=5", None, 422),
        ("GET", "/m/history?limit=0", None, 422),
        ("GET", "/m/9", None, 404),
        ("GET", "/n/history", None, 404),
        ("POST", "", {"model_name": "m"}, 422),
        ("POST", "", {"model_name": "m", "version": 3, "path": "../x"}, 422),
        ("POST", "", {"model_name": "m", "version": 3, "path": "models/m/v3"}, 404),
        ("PUT", "/m/1/activate", {"expected_current": 2}, 409),
        ("PUT", "/m/1/activate", {"reason": "x" * 501}, 422),
        ("PUT", "/m/aliases/canary", {}, 422),
    ],
)
def test_what_the_registry_refuses(wire: Wire, method: str, path: str, json_body: Any, status: int) -> None:
    answer = wire(method, _REGISTRY + path, json=json_body)
    refused(answer, status, answer.json()["error"]["code"])


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v2", 200),
        ("GET", "/v2/health/live", 200),
        ("GET", "/v2/health/ready", 200),
        ("GET", "/v2/models", 200),
        ("GET", "/v2/models/m/ready", 200),
        ("GET", "/v2/models/m/versions/v1/ready", 400),
        ("GET", "/v2/models/n", 404),
        ("GET", "/v2/models/n/config", 404),
        ("GET", "/v2/models/stats", 200),
        ("POST", "/v2/repository/index", 200),
        ("GET", "/v1/models", 200),
        ("GET", "/v1/models/m", 200),
        ("GET", "/v1/models/n", 404),
        ("POST", "/v1/models/m:classify", 501),
        ("GET", "/v1/models/m/labels/stable", 400),
    ],
)
def test_the_protocols_of_others(wire: Wire, method: str, path: str, status: int) -> None:
    answer = wire(method, path)
    assert answer.status_code == status, answer.text
    assert ("error" in answer.json()) == (status != 200)


def test_a_repository_loads_and_unloads(wire: Wire) -> None:
    assert wire("POST", "/v2/repository/models/m/unload").json() == {}
    assert wire("GET", "/v2/models/m/ready").status_code == 400
    assert wire("POST", "/v2/repository/models/m/load", json={"parameters": {}}).json() == {}
    assert wire("GET", "/v2/models/m/ready").status_code == 200
    assert wire("POST", "/v2/repository/index", json={"ready": True}).json()[0]["name"] == "m"


@pytest.mark.parametrize("content", [b"{", b"[]", b'{"ready":1}'])
def test_a_repository_index_reads_an_object(wire: Wire, content: bytes) -> None:
    assert wire("POST", "/v2/repository/index", content=content).status_code == 400


def test_a_readiness_with_a_reason(tmp_path: Path) -> None:
    with _served(tmp_path, not_ready=lambda: "m is away") as wire:
        answer = wire("GET", "/v2/health/ready")
        assert (answer.status_code, "m is away" in answer.text) == (503, True)


@pytest.mark.parametrize("compressed", [False, True])
def test_v1_predicts_a_picture(wire: Wire, compressed: bool) -> None:
    picture = base64.b64encode(b"picture").decode()
    content = json.dumps({"instances": [{"b64": picture}]}).encode()
    headers = {"content-type": "application/json"}
    if compressed:
        content, headers = gzip.compress(content), {**headers, "content-encoding": "gzip"}
    answer = wire("POST", "/v1/models/m:predict", content=content, headers=headers)
    assert answer.status_code == 200, answer.text
    assert len(answer.json()["predictions"]) == 1
    assert wire("POST", "/v1/models/m:predict", content=b"{").status_code == 400
    form = {"content-type": "multipart/form-data"}
    assert wire("POST", "/v1/models/m:predict", content=b"{", headers=form).status_code == 415
    assert wire("POST", "/v2/models/m/infer", content=b"{").status_code == 400


# --- the input of /predict -------------------------------------------------------------------------


@pytest.fixture
def read(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> Callable[..., httpx.Response]:
    """What `/predict` reads from a request, as JSON."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what BentoML imports
        from api.http.predict import AnnotatedInput, PredictInput
    monkeypatch.setattr(PredictInput, "parts", wire.parts, raising=False)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        kind = AnnotatedInput if scope["path"].endswith("annotated") else PredictInput
        (fields,) = await kind.from_http_request(Request(scope, receive), None)
        state = context.current.get()
        answer: Response = JSONResponse(
            {
                "image": len(fields.image),
                "model": fields.model,
                "version": fields.version,
                "threshold": fields.options.threshold,
                "max_detections": fields.options.max_detections,
                "accepted": state.accepted,
            }
        )
        await (answer if state.problem is None else errors.response(state.problem))(scope, receive, send)

    reading = Wire(_wrapped(app, wire.parts), wire.parts)
    return lambda path="/predict", **options: reading("POST", path, **options)


@pytest.mark.slow
def test_a_body_of_each_kind_is_read(read: Callable[..., httpx.Response]) -> None:
    jpeg = {"content-type": "image/jpeg"}
    fields = {"model": "m", "version": "v1", "threshold": 0.5, "max_detections": 7}
    raw = read(content=_PICTURE, params=fields, headers=jpeg)
    form = read(files={"image": ("x.jpg", _PICTURE)}, data=fields)
    document = read(json={"image": base64.b64encode(_PICTURE).decode(), **fields})
    packed = read(
        content=gzip.compress(_PICTURE), params=fields, headers={**jpeg, "content-encoding": "gzip"}
    )
    for answer in (raw, form, document, packed):
        assert answer.json() == {"image": len(_PICTURE), **fields, "accepted": []}, answer.text
    accepted = read("/predict/annotated", content=_PICTURE, headers={**jpeg, "accept": "image/png"})
    assert accepted.json()["accepted"] == ["image/png"]


def test_what_cannot_be_read_is_kept_as_the_problem(read: Callable[..., httpx.Response]) -> None:
    jpeg = {"content-type": "image/jpeg"}
    refused(read(content=b"x", params={"threshold": "2"}, headers=jpeg), 400, "invalid_argument")
    refused(read(content=b"x", headers={**jpeg, "content-encoding": "br"}), 415, "unsupported_media_type")
    none = read("/predict/annotated", content=b"x", headers={**jpeg, "accept": "text/html"})
    refused(none, 406, "not_acceptable")
