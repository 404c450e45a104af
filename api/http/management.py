"""The routes beside `/predict`: models, targets, reload, metrics, API document."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import anyio.to_thread
import orjson
from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ExceptionHandler

from api import errors
from api.auth import AdminAuth
from api.http import body, schemas
from api.kserve_v1 import http_routes as v1_routes
from api.open_inference import http_routes
from api.open_inference import parts as oip_parts
from common.text import explain
from hotswap.control import Control, TargetChange
from hotswap.errors import BadRequest, ModelNotFound, ServingError
from hotswap.status import StateView
from telemetry.recorder import CONTENT_TYPE, Metrics

_MOST_BYTES = 65_536


@dataclass(slots=True)
class RouteParts:
    """The parts that the routes use; available once the worker has started."""

    view: StateView
    control: Control
    guard: AdminAuth
    metrics: Metrics
    swap_timeout: float
    oip: oip_parts.ProtocolParts


Parts = Callable[[], RouteParts]


def build(parts: Parts, docs: Callable[[], dict[str, Any]]) -> Starlette:
    """The app with all routes. It is built before the worker starts, so each request calls `parts`."""
    routes = ManagementRoutes(parts, docs)
    table = [
        Route("/models", routes.models, methods=["GET"]),
        Route("/models/{name}", routes.model, methods=["GET"]),
        Route("/models/{name}/target", routes.set_target, methods=["PUT"]),
        Route("/api/v1/reload", routes.reload, methods=["POST"]),
        Route("/metrics", routes.metrics, methods=["GET"]),
        Route("/docs.json", routes.docs, methods=["GET"]),
        *http_routes.table(lambda: parts().oip, lambda: parts().guard),
        *v1_routes.table(lambda: parts().oip),
    ]
    handler = cast(ExceptionHandler, _on_error)
    app = Starlette(routes=table, exception_handlers={ServingError: handler})
    # A redirect would lead to the Host that the client sent.
    app.router.redirect_slashes = False
    return app


async def _on_error(_: Request, error: ServingError) -> Response:
    return errors.response(error)


class ManagementRoutes:
    """The handlers, one per route."""

    def __init__(self, parts: Parts, docs: Callable[[], dict[str, Any]]) -> None:
        self._parts = parts
        self._docs = docs

    async def models(self, _: Request) -> Response:
        """`GET /models`."""
        await self._parts().control.fresh()
        view = self._parts().view
        models = [schemas.model_entry(status) for status in view.models()]
        return _json(schemas.ModelsBody(default=view.default, models=models))

    async def model(self, request: Request) -> Response:
        """`GET /models/{name}`."""
        await self._parts().control.fresh()
        return _json(self._entry(request.path_params["name"]))

    async def set_target(self, request: Request) -> Response:
        """`PUT /models/{name}/target`: 200 when the target is serving, 202 at the timeout."""
        parts = self._parts()
        actor = parts.guard.check(request)
        target = await _read(request, schemas.TargetBody)
        name = request.path_params["name"]
        expected = target.expected_current
        change = TargetChange(
            name=name,
            target=str(target.target),
            actor=actor,
            expected_current=None if expected is None else str(expected),
            reason=target.reason,
        )
        done = await parts.control.set_target(change, parts.swap_timeout)
        response = _json(self._entry(name), 200 if done else 202)
        if not done:
            response.headers["Location"] = f"/models/{name}"
        return response

    async def reload(self, request: Request) -> Response:
        """`POST /api/v1/reload`: rescan the store now."""
        parts = self._parts()
        parts.guard.check(request)
        await parts.control.reload()
        return await self.models(request)

    async def metrics(self, _: Request) -> Response:
        """`GET /metrics`."""
        text = await anyio.to_thread.run_sync(self._parts().metrics.exposition)
        return Response(text, media_type=CONTENT_TYPE)

    async def docs(self, _: Request) -> Response:
        """`GET /docs.json`."""
        return Response(orjson.dumps(self._docs()), media_type="application/json")

    def _entry(self, name: str) -> schemas.ModelBody:
        view = self._parts().view
        if not view.known(name):
            raise ModelNotFound(f"there is no model {name[:64]!r}; GET /models lists them")
        return schemas.model_entry(view.model(name))


def _json(document: schemas.ModelsBody | schemas.ModelBody, code: int = 200) -> Response:
    return Response(document.model_dump_json(), code, media_type="application/json")


async def _read(request: Request, kind: type[schemas.TargetBody]) -> schemas.TargetBody:
    media = request.headers.get("content-type", "application/json").partition(";")[0].strip().lower()
    if media != "application/json":
        raise errors.UnsupportedMediaType(f"Content-Type {media!r}: accepted is application/json")
    data = await body.read_small(request, _MOST_BYTES)
    try:
        return kind.model_validate_json(data)
    except ValidationError as error:
        raise BadRequest(explain("body", error)) from None
