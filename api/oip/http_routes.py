"""The routes under /v2. Each reads, calls the protocol on the core, writes."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from api import context
from api.auth import Guard
from api.context import RequestContext
from api.oip import http_answers, http_bodies, http_request, not_offered
from api.oip.http_request import Parsed
from api.oip.messages import InferRequest
from api.oip.parts import Parts
from hotswap.errors import BadRequest, ModelNotReady, ServingError
from hotswap.requests import Asked


def table(parts: Callable[[], Parts], guard: Callable[[], Guard]) -> list[BaseRoute]:
    """All routes; `parts` and `guard` are asked at each request."""
    routes = Routes(parts, guard)
    models = [
        Route(f"/v2/models/{{name}}{version}{path}", endpoint, methods=[method])
        for path, method, endpoint in (
            ("", "GET", routes.metadata),
            ("/ready", "GET", routes.ready),
            ("/config", "GET", routes.config),
            ("/stats", "GET", routes.statistics),
            ("/infer", "POST", routes.infer),
        )
        for version in ("", "/versions/{version}")
    ]
    return [
        Route("/v2", routes.server, methods=["GET"]),
        Route("/v2/", routes.server, methods=["GET"]),
        Route("/v2/health/live", routes.live, methods=["GET"]),
        Route("/v2/health/ready", routes.health, methods=["GET"]),
        Route("/v2/models", routes.names, methods=["GET"]),
        Route("/v2/models/stats", routes.statistics, methods=["GET"]),
        *models,
        Route("/v2/repository/index", routes.index, methods=["POST"]),
        Route("/v2/repository/models/{name}/load", routes.load, methods=["POST"]),
        Route("/v2/repository/models/{name}/unload", routes.unload, methods=["POST"]),
        *(not_offered.NotOffered(*each) for each in not_offered.PATHS.items()),
    ]


class Routes:
    """One method, one route, with a version in the path or without."""

    def __init__(self, parts: Callable[[], Parts], guard: Callable[[], Guard]) -> None:
        self._parts = parts
        self._guard = guard

    async def server(self, _: Request) -> Response:
        """`GET /v2`."""
        return _json(http_answers.server(self._parts().models.server()))

    async def live(self, _: Request) -> Response:
        """`GET /v2/health/live`."""
        return _json({"live": True})

    async def health(self, _: Request) -> Response:
        """`GET /v2/health/ready`: 503 with the reason while a required model does not serve."""
        reason = self._parts().not_ready()
        if reason is not None:
            raise ModelNotReady(reason)
        return _json({"ready": True})

    async def names(self, _: Request) -> Response:
        """`GET /v2/models`, as KServe's server has it."""
        return _json(http_answers.names(await self._parts().repository.index(ready=False)))

    async def metadata(self, request: Request) -> Response:
        """`GET /v2/models/{name}`."""
        found = await self._parts().models.metadata(_asked(request))
        return _json(http_answers.metadata(found))

    async def config(self, request: Request) -> Response:
        """`GET /v2/models/{name}/config`."""
        found = await self._parts().models.metadata(_asked(request))
        return _json(http_answers.config(found))

    async def ready(self, request: Request) -> Response:
        """`GET /v2/models/{name}/ready`: 400 with the reason when it is not."""
        name = request.path_params["name"]
        reason = self._parts().models.not_ready(name, _version(request))
        if reason is not None:
            raise BadRequest(reason)
        return _json({"name": name, "ready": True})

    async def statistics(self, request: Request) -> Response:
        """`GET /v2/models/stats` and `GET /v2/models/{name}/stats`."""
        found = await self._parts().statistics.of(request.path_params.get("name"), _version(request))
        return _json({"model_stats": [http_answers.statistics(each) for each in found]})

    async def infer(self, request: Request) -> Response:
        """`POST /v2/models/{name}/infer`."""
        parts, state = self._parts(), context.current.get()
        try:
            parts.check_room()
            parsed = await http_bodies.read(parts, request, state)
            with await parts.inference.answering(_request(request, parsed, state)) as answer:
                return await http_bodies.written(answer, parsed, request, state)
        except ServingError as error:
            seconds = time.perf_counter() - state.received
            parts.refused(state.request_id, request.path_params["name"], error, seconds)
            raise

    async def index(self, request: Request) -> Response:
        """`POST /v2/repository/index`."""
        wanted = await http_bodies.small(request)
        ready = wanted.get("ready", False)
        if not isinstance(ready, bool):
            raise BadRequest("ready: it must be true or false")
        found = await self._parts().repository.index(ready=ready)
        return _json([http_answers.entry(each) for each in found])

    async def load(self, request: Request) -> Response:
        """`POST /v2/repository/models/{name}/load`."""
        actor = self._guard().check(request)
        parameters = http_bodies.parameters(await http_bodies.small(request))
        await self._parts().repository.load(request.path_params["name"], parameters, actor)
        return _json({})

    async def unload(self, request: Request) -> Response:
        """`POST /v2/repository/models/{name}/unload`."""
        actor = self._guard().check(request)
        http_bodies.parameters(await http_bodies.small(request))
        await self._parts().repository.unload(request.path_params["name"], actor)
        return _json({})


def _json(found: Any) -> Response:
    return Response(orjson.dumps(found), media_type="application/json")


def _version(request: Request) -> str | None:
    version: str | None = request.path_params.get("version")
    return version


def _asked(request: Request) -> Asked:
    state = context.current.get()
    return Asked(
        request_id=state.request_id,
        deadline=state.deadline,
        model=request.path_params["name"],
        version=_version(request),
    )


def _request(request: Request, parsed: Parsed, state: RequestContext) -> InferRequest:
    return InferRequest(
        model=request.path_params["name"],
        version=_version(request),
        id=parsed.id,
        parameters=parsed.parameters,
        inputs=parsed.inputs,
        outputs=http_request.names(parsed.outputs),
        request_id=state.request_id,
        deadline=state.deadline,
        received=state.received,
    )
