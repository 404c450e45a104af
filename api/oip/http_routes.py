"""The routes under /v2. Each reads, calls the protocol on the core, writes."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from api import body, context, errors
from api.auth import Guard
from api.context import RequestContext
from api.oip import encodings, http_answers, http_request, http_response
from api.oip.http_request import Parsed
from api.oip.messages import InferRequest, InferResponse, check_parameter
from api.oip.parts import Parts, in_time
from hotswap.errors import BadRequest, ModelNotReady, ServingError
from hotswap.requests import Asked

#: JSON bytes of a request, and bytes of an answer's tensors, that are worked on without a thread.
QUICK = 65_536
_MOST_BYTES = 65_536
#: Clients of the protocol send JSON under many names; a form or a picture is none of them.
_MEDIA = (
    "",
    "application/json",
    "application/octet-stream",
    "text/plain",
    "application/x-www-form-urlencoded",
)


def table(parts: Callable[[], Parts], guard: Callable[[], Guard]) -> list[Route]:
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
        Route("/v2/models/stats", routes.statistics, methods=["GET"]),
        *models,
        Route("/v2/repository/index", routes.index, methods=["POST"]),
        Route("/v2/repository/models/{name}/load", routes.load, methods=["POST"]),
        Route("/v2/repository/models/{name}/unload", routes.unload, methods=["POST"]),
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
            parsed = await _read(parts, request, state)
            with await parts.inference.answering(_request(request, parsed, state)) as answer:
                return await _written(answer, parsed, request, state)
        except ServingError as error:
            seconds = time.perf_counter() - state.received
            parts.refused(state.request_id, request.path_params["name"], error, seconds)
            raise

    async def index(self, request: Request) -> Response:
        """`POST /v2/repository/index`."""
        wanted = await _small(request)
        ready = wanted.get("ready", False)
        if not isinstance(ready, bool):
            raise BadRequest("ready: it must be true or false")
        found = await self._parts().repository.index(ready=ready)
        return _json([http_answers.entry(each) for each in found])

    async def load(self, request: Request) -> Response:
        """`POST /v2/repository/models/{name}/load`."""
        actor = self._actor(request)
        wanted = await _small(request)
        await self._parts().repository.load(request.path_params["name"], _parameters(wanted), actor)
        return _json({})

    async def unload(self, request: Request) -> Response:
        """`POST /v2/repository/models/{name}/unload`."""
        actor = self._actor(request)
        _parameters(await _small(request))
        await self._parts().repository.unload(request.path_params["name"], actor)
        return _json({})

    def _actor(self, request: Request) -> str:
        """Who may change what is served; a page of another site may not, whatever it can send."""
        origin = request.headers.get("origin")
        if origin is not None and urlsplit(origin).netloc != request.headers.get("host"):
            raise errors.Forbidden("a page of another site may not change what is served")
        return self._guard().check(request)


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


def _check_media(request: Request) -> None:
    media = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media not in _MEDIA:
        raise errors.UnsupportedMediaType(
            f"Content-Type {media[:64]!r}: accepted are application/json, and application/octet-stream with "
            f"{http_response.HEADER}"
        )


async def _read(parts: Parts, request: Request, state: RequestContext) -> Parsed:
    _check_media(request)
    encoding = encodings.of_body(request.headers.get("content-encoding"))
    data = await body.read(request)
    header = request.headers.get(http_response.HEADER)

    def work() -> Parsed:
        plain = data
        if encoding is not None:
            plain = encodings.expand(data, encoding, parts.max_body_bytes, state.hold)
        parsed = http_request.parse(plain, http_request.json_size(header, len(plain)))
        state.hold(parsed.held)
        return parsed

    if encoding is None and http_request.json_size(header, len(data)) <= QUICK:
        return work()
    return await parts.aside(work, state.deadline)


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


async def _written(
    answer: InferResponse, parsed: Parsed, request: Request, state: RequestContext
) -> Response:
    accepted = request.headers.get("accept-encoding")

    def work() -> Response:
        data, headers = http_response.encode(answer, parsed.is_binary)
        encoding = encodings.wanted(accepted, len(data))
        if encoding is not None:
            data, headers = encodings.compress(data, encoding), {**headers, "Content-Encoding": encoding}
        return Response(data, headers={**headers, "Vary": "Accept-Encoding"})

    weight = http_response.weight(answer)
    if weight <= QUICK:
        return work()
    # The answer waits for the caller to take it: it counts until then, as text, which is longer, too.
    state.hold(weight)
    response = await in_time(work, state.deadline)
    state.hold(max(0, len(response.body) - weight))
    return response


async def _small(request: Request) -> dict[str, Any]:
    """The object in a body that may be empty."""
    _check_media(request)
    encoding = encodings.of_body(request.headers.get("content-encoding"))
    data = await body.read_small(request, _MOST_BYTES)
    if encoding is not None:
        data = encodings.expand(data, encoding, _MOST_BYTES, context.current.get().hold)
    if not data:
        return {}
    try:
        found = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise BadRequest(f"the body is not JSON: {error}") from None
    if not isinstance(found, dict):
        raise BadRequest("the body must be an object, or empty")
    return found


def _parameters(found: dict[str, Any]) -> dict[str, Any]:
    parameters = found.get("parameters")
    if parameters is None:
        return {}
    if not isinstance(parameters, dict):
        raise BadRequest("parameters: it must be an object")
    for name, value in parameters.items():
        check_parameter("parameters", name, value)
    return parameters
