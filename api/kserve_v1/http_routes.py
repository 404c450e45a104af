"""The routes under /v1. Each reads, calls the core, writes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from api import context
from api.context import RequestContext
from api.http.schemas import named
from api.kserve_v1 import codec
from api.kserve_v1.codec import V1Request
from api.open_inference import http_codec, http_routes
from api.open_inference.not_supported import NotOffered
from api.open_inference.parts import ProtocolParts
from hotswap.errors import BadRequest
from hotswap.events import Outcome
from hotswap.predictions import PredictRequest
from hotswap.tags import as_version

_MODEL = r"/v1/models/[^/]+(/versions/[^/]+)?"
#: What KServe and TensorFlow Serving have beside → why it is not here.
_NOT_OFFERED: Mapping[str, str] = {
    f"{_MODEL}:(classify|regress|explain)": "this is not supported; use …:predict",
    f"{_MODEL}/metadata": "this is not supported; GET /v2/models/{name} tells inputs and outputs",
}
_LABELS = "versions have no labels here; name a version (…/versions/v2), or none for what serves"


def table(parts: Callable[[], ProtocolParts]) -> list[BaseRoute]:
    """All routes; `parts` is asked at each request."""
    routes = V1Routes(parts)
    models = [
        Route(f"/v1/models/{{name}}{version}{path}", endpoint, methods=[method])
        for path, method, endpoint in ((":predict", "POST", routes.predict), ("", "GET", routes.model))
        for version in ("", "/versions/{version}")
    ]
    return [
        Route("/v1/models", routes.models, methods=["GET"]),
        NotOffered(r"/v1/models/[^/]+/labels/.*", _LABELS, BadRequest),
        *(NotOffered(*each) for each in _NOT_OFFERED.items()),
        *models,
    ]


class V1Routes:
    """One method, one route, with a version in the path or without."""

    def __init__(self, parts: Callable[[], ProtocolParts]) -> None:
        self._parts = parts

    async def models(self, _: Request) -> Response:
        """`GET /v1/models`."""
        return _json(http_codec.names(await self._parts().repository.index(ready=False)))

    async def model(self, request: Request) -> Response:
        """`GET /v1/models/{name}`: also of a model that is not ready; 404 of one that is not there."""
        name, version = request.path_params["name"], _version(request)
        reason = self._parts().models.not_ready(name, version)
        found = await self._parts().repository.index(ready=False)
        entries = [each for each in found if each.name == name and each.version is not None]
        if version is not None:
            wanted = as_version(version, {str(each.version) for each in entries})
            entries = [each for each in entries if each.version == wanted]
        return _json(codec.model(name, ready=reason is None, entries=entries))

    async def predict(self, request: Request) -> Response:
        """`POST /v1/models/{name}:predict`: all pictures by one version, which the answer names."""
        parts, state = self._parts(), context.current.get()
        with parts.recorder.inference(
            state.request_id, request.path_params["name"], state.received
        ) as outcome:
            parts.check_room()
            return await self._predict(parts, request, state, outcome)

    @staticmethod
    async def _predict(
        parts: ProtocolParts, asked: Request, state: RequestContext, outcome: Outcome
    ) -> Response:
        def parse(plain: bytes) -> V1Request:
            parsed = codec.parse(plain)
            state.hold(parsed.held)
            return parsed

        parsed = await http_routes.read_as(parse, parts, asked, state)
        wanted = PredictRequest(
            request_id=state.request_id,
            deadline=state.deadline,
            model=asked.path_params["name"],
            version=_version(asked),
            received=state.received,
            pictures=parsed.pictures,
            options=parsed.options,
        )
        outcome.answer = answer = await parts.data_plane.predict(wanted)
        headers = {"Content-Type": "application/json", **named(answer)}
        return await http_routes.given(
            lambda: (codec.predicted(answer, columnar=parsed.columnar), headers),
            codec.weight(answer),
            asked,
            state,
        )


def _json(found: Any) -> Response:
    return Response(orjson.dumps(found), media_type="application/json")


def _version(request: Request) -> str | None:
    version: str | None = request.path_params.get("version")
    return version
