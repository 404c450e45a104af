"""The routes beside `/predict`: models, targets, reload, metrics, API document."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

import anyio.to_thread
import fastapi_offline
import orjson
from fastapi import APIRouter, FastAPI, Query, Request, Response, Security
from fastapi.openapi.docs import get_redoc_html
from fastapi.security import HTTPBearer
from starlette.staticfiles import StaticFiles

from api import context, errors
from api.http import detect_routes, gate_routes, infer_routes, registry_routes
from api.http.model_bodies import ModelBodies, ModelBody, ModelsBody
from api.http.schemas import CanaryChangeBody, ErrorBody, TargetBody, WarmUpBody
from api.http.small_bodies import SmallBodyRoute, managed_route
from api.kserve_v1 import http_routes as v1_routes
from api.open_inference import http_routes
from api.parts import GetParts, ServiceParts
from api.service_health import ServiceHealthBody
from api.warm_up import WarmUps
from hotswap.control import CanaryChange, TargetChange
from hotswap.errors import ServingError
from manifest.tags import as_version
from telemetry.observers import CONTENT_TYPE

_PAGES = "/documentation"
#: Samples of one warm-up, at most and by default.
_MOST_SAMPLES, _SAMPLES = 1_000, 10


def build(parts: GetParts, docs: Callable[[dict[str, Any]], dict[str, Any]]) -> FastAPI:
    """The app with all routes. It is built before the worker starts, so each request calls `parts`.

    `docs` makes the document of the whole service from that of these routes.
    """
    app = FastAPI(
        openapi_url=None,
        # A redirect would lead to the Host that the client sent.
        redirect_slashes=False,
        strict_content_type=False,
        exception_handlers={ServingError: _on_error},
        separate_input_output_schemas=False,
    )
    app.include_router(infer_routes.router(parts))
    app.include_router(_model_routes(parts))
    app.include_router(_change_routes(parts))
    app.include_router(_residency_routes(parts))
    app.include_router(gate_routes.router(parts))
    app.include_router(registry_routes.router(parts))
    app.include_router(_text_routes(parts, lambda: docs(app.openapi())))
    app.mount(_PAGES, StaticFiles(directory=Path(fastapi_offline.__file__).parent / "static"))
    app.router.routes += http_routes.table(parts)
    app.router.routes += v1_routes.table(parts)
    app.router.routes += detect_routes.table(lambda: parts().detection())
    return app


async def _on_error(_: Request, error: ServingError) -> Response:
    return errors.response(error)


def _refusals(*statuses: int) -> dict[int | str, dict[str, Any]]:
    return {status: {"model": ErrorBody, "description": "ErrorBody"} for status in statuses}


def _model_routes(parts: GetParts) -> APIRouter:
    router = APIRouter(tags=["models"], route_class=SmallBodyRoute)

    @router.get("/models", operation_id="models", responses=_refusals(400))
    async def models(
        shape: Annotated[
            Literal["list"] | None, Query(alias="format", description="list: the models alone, as an array")
        ] = None,
    ) -> ModelsBody | list[ModelBody]:
        """All models with their versions and states."""
        answer = await _all_models(parts())
        return answer if shape is None else answer.models

    @router.get("/models/{name}", operation_id="model", responses=_refusals(404))
    async def model(name: str) -> ModelBody:
        """One model."""
        await parts().control.fresh()
        return _bodies(parts()).one(name)

    return router


def _change_routes(parts: GetParts) -> APIRouter:
    router = APIRouter(
        tags=["models"],
        route_class=managed_route(),
        dependencies=[Security(HTTPBearer(auto_error=False, scheme_name="adminToken"))],
    )

    @router.put(
        "/models/{name}/target",
        operation_id="set_target",
        responses={202: {"model": ModelBody}, **_refusals(400, 401, 403, 404, 409, 413, 415, 503, 507)},
    )
    async def set_target(name: str, change: TargetBody, request: Request, response: Response) -> ModelBody:
        """Set a model's target: `latest` or an exact version; 202 if the swap is still running."""
        expected = change.expected_current
        wanted = TargetChange(
            name=name,
            target=str(change.target),
            actor=request.state.actor,
            expected_current=None if expected is None else str(expected),
            reason=change.reason,
        )
        if not await parts().control.set_target(wanted, parts().swap_timeout):
            _goes_on(response, name)
        return _bodies(parts()).one(name)

    @router.put(
        "/models/{name}/canary",
        operation_id="set_canary",
        responses={202: {"model": ModelBody}, **_refusals(400, 401, 403, 404, 409, 413, 415, 503, 507)},
    )
    async def set_canary(
        name: str, change: CanaryChangeBody, request: Request, response: Response
    ) -> ModelBody:
        """Let a version answer a share of a model's requests beside the target; 202 if that takes longer."""
        versions = [each.version for each in _known(parts(), name).versions]
        wanted = CanaryChange(
            name=name,
            version=as_version(str(change.version), versions),
            share=change.share,
            actor=request.state.actor,
            reason=change.reason,
        )
        if not await parts().control.set_canary(wanted, parts().swap_timeout):
            _goes_on(response, name)
        return _bodies(parts()).one(name)

    @router.delete(
        "/models/{name}/canary",
        operation_id="end_canary",
        responses={202: {"model": ModelBody}, **_refusals(401, 403, 404, 409, 503)},
    )
    async def end_canary(name: str, request: Request, response: Response) -> ModelBody:
        """Let the target of a model answer alone again."""
        actor = request.state.actor
        if not await parts().control.end_canary(name, actor, "the trial has ended", parts().swap_timeout):
            _goes_on(response, name)
        return _bodies(parts()).one(name)

    @router.post("/api/v1/reload", operation_id="reload", responses=_refusals(401, 403, 503))
    async def reload() -> ModelsBody:
        """Rescan the store now and retry failed versions."""
        await parts().control.reload()
        return await _all_models(parts())

    return router


def _residency_routes(parts: GetParts) -> APIRouter:
    router = APIRouter(
        tags=["models"],
        route_class=managed_route(),
        dependencies=[Security(HTTPBearer(auto_error=False, scheme_name="adminToken"))],
    )
    refusals = _refusals(401, 403, 404, 409, 503, 507)
    later: dict[int | str, dict[str, Any]] = {202: {"model": ModelBody}}

    @router.post("/models/{name}/load", operation_id="load", responses={**later, **refusals})
    async def load(name: str, request: Request, response: Response) -> ModelBody:
        """Load what a model's target means, also after an unload; 202 if that takes longer."""
        if not await parts().control.load(name, request.state.actor, parts().swap_timeout):
            _goes_on(response, name)
        return _bodies(parts()).one(name)

    @router.delete("/models/{name}", operation_id="unload", responses={**later, **refusals})
    async def unload(name: str, request: Request, response: Response) -> ModelBody:
        """Unload a model; its files stay, and no request loads it again. Requests under way are answered."""
        if not await parts().control.unload(name, request.state.actor, parts().swap_timeout):
            _goes_on(response, name)
        return _bodies(parts()).one(name)

    @router.post(
        "/models/{name}/warmup",
        operation_id="warm_up",
        responses={**refusals, **_refusals(400, 422, 429, 500, 504)},
    )
    async def warm_up(
        name: str, samples: Annotated[int, Query(ge=1, le=_MOST_SAMPLES)] = _SAMPLES
    ) -> WarmUpBody:
        """Run what the serving version is checked on, in the worker that answers this call."""
        state = context.current.get()
        report = await WarmUps(parts().data_plane).run(name, samples, state.request_id, state.deadline)
        return WarmUpBody(
            model=report.tag.name,
            version=report.tag.version,
            samples=len(report.latencies_ms),
            warmup_time_ms=round(report.total_ms, 3),
            latencies_ms=[round(each, 3) for each in report.latencies_ms],
        )

    return router


def _text_routes(parts: GetParts, document: Callable[[], dict[str, Any]]) -> APIRouter:
    router = APIRouter(tags=["models"], default_response_class=Response, route_class=SmallBodyRoute)

    @router.get(
        "/health",
        operation_id="health",
        response_model=ServiceHealthBody,
        responses={503: {"model": ServiceHealthBody}},
    )
    async def health() -> Response:
        """How the service, its models, the machine and its dependencies are, within a second."""
        report = await parts().health.report()
        context.current.get().shaped = True
        status, headers = (503, {"Retry-After": "1"}) if report.status == "unhealthy" else (200, {})
        return Response(report.model_dump_json(), status, headers, "application/json")

    @router.get("/metrics", operation_id="metrics", responses={200: {"content": {"text/plain": {}}}})
    async def metrics() -> Response:
        """Metrics for Prometheus."""
        text = await anyio.to_thread.run_sync(parts().metrics.exposition)
        return Response(text, media_type=CONTENT_TYPE)

    @router.get("/docs.json", operation_id="docs", responses={200: {"content": {"application/json": {}}}})
    async def docs() -> Response:
        """This document."""
        servers = [{"url": context.current.get().prefix or "."}]
        return Response(orjson.dumps({**document(), "servers": servers}), media_type="application/json")

    @router.get("/redoc", operation_id="redoc", responses={200: {"content": {"text/html": {}}}})
    async def redoc() -> Response:
        """This document as a page to read, by ReDoc. The interactive page is `/`."""
        return get_redoc_html(
            openapi_url="docs.json",
            title="Okawari",
            redoc_js_url=f".{_PAGES}/redoc.standalone.js",
            redoc_favicon_url="data:,",
            with_google_fonts=False,
        )

    return router


def _bodies(parts: ServiceParts) -> ModelBodies:
    return ModelBodies(parts.view, parts.verdicts)


def _known(parts: ServiceParts, name: str) -> ModelBody:
    """What is shown of a model. Raises `ModelNotFound`."""
    return _bodies(parts).one(name)


async def _all_models(parts: ServiceParts) -> ModelsBody:
    await parts.control.fresh()
    return ModelsBody(default=parts.view.default, models=_bodies(parts).all())


def _goes_on(response: Response, name: str) -> None:
    """What was asked for is under way; the model shows when it is done."""
    response.status_code = 202
    response.headers["Location"] = f"{context.current.get().prefix}/models/{name}"
