"""The routes under /v1."""

from __future__ import annotations

from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from api import context
from api.context import RequestContext
from api.http.schemas import named
from api.kserve_v1 import codec, not_supported
from api.kserve_v1.codec import V1Request
from api.open_inference import http_codec, http_routes
from api.open_inference.not_supported import NotOffered
from api.parts import GetParts, ServiceParts
from hotswap.errors import BadRequest
from hotswap.events import Outcome
from hotswap.predictions import PredictRequest
from manifest.tags import as_version


def table(parts: GetParts) -> list[BaseRoute]:
    """All routes; `parts` is called at each request."""
    routes = V1Routes(parts)
    models = [
        Route(f"/v1/models/{{name}}{version}{path}", endpoint, methods=[method])
        for path, method, endpoint in ((":predict", "POST", routes.predict), ("", "GET", routes.model))
        for version in ("", "/versions/{version}")
    ]
    return [
        Route("/v1/models", routes.models, methods=["GET"]),
        *(NotOffered(*item, BadRequest) for item in not_supported.LABELS.items()),
        *(NotOffered(*item) for item in not_supported.PATHS.items()),
        *models,
    ]


class V1Routes:
    """The handlers, one per route, with or without a version in the path."""

    def __init__(self, parts: GetParts) -> None:
        self._parts = parts

    async def models(self, _: Request) -> Response:
        """`GET /v1/models`."""
        return _json(http_codec.names(await self._parts().repository.index(ready=False)))

    async def model(self, request: Request) -> Response:
        """`GET /v1/models/{name}`: also for a model that is not ready; 404 for an unknown one."""
        name, version = request.path_params["name"], _version(request)
        reason = self._parts().models.not_ready(name, version)
        index = await self._parts().repository.index(ready=False)
        entries = [entry for entry in index if entry.name == name and entry.version is not None]
        if version is not None:
            exact = as_version(version, {str(entry.version) for entry in entries})
            entries = [entry for entry in entries if entry.version == exact]
        return _json(codec.model(name, ready=reason is None, entries=entries))

    async def predict(self, request: Request) -> Response:
        """`POST /v1/models/{name}:predict`: one version predicts all pictures; the answer names it."""
        parts, state = self._parts(), context.current.get()
        with parts.recorder.inference(
            state.request_id, request.path_params["name"], state.received
        ) as outcome:
            parts.check_room()
            return await self._predict(parts, request, state, outcome)

    @staticmethod
    async def _predict(
        parts: ServiceParts, request: Request, state: RequestContext, outcome: Outcome
    ) -> Response:
        def parse(plain: bytes) -> V1Request:
            parsed = codec.parse(plain)
            state.hold(parsed.held)
            return parsed

        parsed = await http_routes.read_as(parse, parts, request, state)
        predict_request = PredictRequest(
            request_id=state.request_id,
            key=state.route_key,
            deadline=state.deadline,
            model=request.path_params["name"],
            version=_version(request),
            received=state.received,
            pictures=parsed.pictures,
            options=parsed.options,
        )
        outcome.answer = answer = await parts.data_plane.predict(predict_request)
        headers = {"Content-Type": "application/json", **named(answer)}
        return await http_routes.respond(
            lambda: (codec.predicted(answer, columnar=parsed.columnar), headers),
            codec.weight(answer),
            request,
            state,
        )


def _json(document: Any) -> Response:
    return Response(orjson.dumps(document), media_type="application/json")


def _version(request: Request) -> str | None:
    version: str | None = request.path_params.get("version")
    return version
