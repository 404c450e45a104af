"""The routes under /v2. Long bodies are parsed and encoded in threads, within limits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from api import context, errors
from api.access import guard
from api.context import RequestContext
from api.http import body, content_encoding
from api.open_inference import http_codec, not_supported
from api.open_inference.http_codec import Parsed
from api.open_inference.types import InferRequest, InferResponse, check_parameter
from api.parts import GetParts, ServiceParts
from hotswap.errors import BadRequest, ModelNotReady
from hotswap.predictions import BaseRequest

T = TypeVar("T")

#: Bytes of JSON, or of an answer's tensors, that are processed without a thread.
QUICK = 65_536
_MOST_BYTES = 65_536
#: Clients of the protocol send JSON with many media types; forms and pictures are refused.
_MEDIA = (
    "",
    "application/json",
    "application/octet-stream",
    "text/plain",
    "application/x-www-form-urlencoded",
)


def _check_media(request: Request) -> None:
    media = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media not in _MEDIA:
        raise errors.UnsupportedMediaType(
            f"Content-Type {media[:64]!r}: accepted are application/json, and application/octet-stream with "
            f"{http_codec.HEADER}"
        )


async def read(parts: ServiceParts, request: Request, state: RequestContext) -> Parsed:
    """Read an infer request; a long one is parsed in the inference pool. The parsed bytes are counted.

    Raises `UnsupportedMediaType`, `BodyTooLarge`, `BadRequest`, `Overloaded`, `DeadlineExceeded`.
    """
    header = request.headers.get(http_codec.HEADER)

    def parse(plain: bytes) -> Parsed:
        parsed = http_codec.parse(plain, http_codec.json_size(header, len(plain)))
        state.hold(parsed.held)
        return parsed

    return await read_as(parse, parts, request, state, lambda size: http_codec.json_size(header, size))


async def read_as(
    parse: Callable[[bytes], T],
    parts: ServiceParts,
    request: Request,
    state: RequestContext,
    json_size: Callable[[int], int] = lambda size: size,
) -> T:
    """The result of `parse` on the decompressed body; it runs in the inference pool if the JSON is long.

    `json_size` returns the bytes of JSON in a body of a given size. Raises as `read` and `parse` do.
    """
    _check_media(request)
    encoding = content_encoding.of_body(request.headers)
    data = await body.read(request)

    def work() -> T:
        plain = data
        if encoding is not None:
            plain = content_encoding.expand(data, encoding, parts.max_body_bytes, state.hold)
        return parse(plain)

    if encoding is None and json_size(len(data)) <= QUICK:
        return work()
    return await parts.data_plane.aside(work, state.deadline)


async def infer_response(
    answer: InferResponse, parsed: Parsed, request: Request, state: RequestContext
) -> Response:
    """The response in the requested form.

    Raises `BadRequest` for values that the form cannot represent, `Overloaded`, `DeadlineExceeded`.
    """
    weight = http_codec.weight(answer)
    return await respond(lambda: http_codec.encode(answer, parsed.is_binary), weight, request, state)


async def respond(
    write: Callable[[], tuple[bytes, dict[str, str]]], weight: int, request: Request, state: RequestContext
) -> Response:
    """The response with the body and headers of `write`, of about `weight` bytes.

    Raises as `write` does, `Overloaded` and `DeadlineExceeded`.
    """
    accepted = request.headers.get("accept-encoding")

    def work() -> Response:
        data, headers = write()
        encoding = content_encoding.for_answer(accepted, len(data))
        if encoding is not None:
            data, headers = (
                content_encoding.compress(data, encoding),
                {**headers, "Content-Encoding": encoding},
            )
        return Response(data, headers={**headers, "Vary": "Accept-Encoding"})

    if weight <= QUICK:
        return work()
    # The answer's bytes count until the client has read them, also those that JSON adds.
    state.hold(weight)
    response = await context.in_time(work, state.deadline)
    state.hold(max(0, len(response.body) - weight))
    return response


async def read_object(request: Request) -> dict[str, Any]:
    """The JSON object of a body that may be empty. Raises as `read` does."""
    _check_media(request)
    data = await body.read_small(request, _MOST_BYTES)
    if not data:
        return {}
    try:
        document = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise BadRequest(f"the body is not JSON: {error}") from None
    if not isinstance(document, dict):
        raise BadRequest("the body must be an object, or empty")
    return document


def read_parameters(document: dict[str, Any]) -> dict[str, Any]:
    """The checked field `parameters`. Raises `BadRequest`."""
    parameters = document.get("parameters")
    if parameters is None:
        return {}
    if not isinstance(parameters, dict):
        raise BadRequest("parameters: must be an object")
    for name, value in parameters.items():
        check_parameter("parameters", name, value)
    return parameters


def table(parts: GetParts) -> list[BaseRoute]:
    """All routes; each request calls `parts`."""
    routes = InferenceRoutes(parts)
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
        *(not_supported.NotOffered(*item) for item in not_supported.PATHS.items()),
    ]


class InferenceRoutes:
    """The handlers, one per route, with or without a version in the path."""

    def __init__(self, parts: GetParts) -> None:
        self._parts = parts

    async def server(self, _: Request) -> Response:
        """`GET /v2`."""
        return _json(http_codec.server(self._parts().models.server()))

    async def live(self, _: Request) -> Response:
        """`GET /v2/health/live`."""
        return _json({"live": True})

    async def health(self, _: Request) -> Response:
        """`GET /v2/health/ready`: 503 with the reason while a required model is not serving."""
        reason = self._parts().not_ready()
        if reason is not None:
            raise ModelNotReady(reason)
        return _json({"ready": True})

    async def names(self, _: Request) -> Response:
        """`GET /v2/models`, like KServe's server."""
        return _json(http_codec.names(await self._parts().repository.index(ready=False)))

    async def metadata(self, request: Request) -> Response:
        """`GET /v2/models/{name}`."""
        model = await self._parts().models.metadata(_base_request(request))
        return _json(http_codec.metadata(model))

    async def config(self, request: Request) -> Response:
        """`GET /v2/models/{name}/config`."""
        model = await self._parts().models.metadata(_base_request(request))
        return _json(http_codec.config(model))

    async def ready(self, request: Request) -> Response:
        """`GET /v2/models/{name}/ready`: 400 with the reason when the model is not ready."""
        name = request.path_params["name"]
        reason = self._parts().models.not_ready(name, _version(request))
        if reason is not None:
            raise BadRequest(reason)
        return _json({"name": name, "ready": True})

    async def statistics(self, request: Request) -> Response:
        """`GET /v2/models/stats` and `GET /v2/models/{name}/stats`."""
        models = await self._parts().statistics.of(request.path_params.get("name"), _version(request))
        return _json({"model_stats": [http_codec.statistics(model) for model in models]})

    async def infer(self, request: Request) -> Response:
        """`POST /v2/models/{name}/infer`."""
        parts, state = self._parts(), context.current.get()
        with parts.recorder.inference(
            state.request_id, request.path_params["name"], state.received
        ) as outcome:
            parts.check_room()
            parsed = await read(parts, request, state)
            answer = await parts.inference.infer(_request(request, parsed, state), outcome)
            return await infer_response(answer, parsed, request, state)

    async def index(self, request: Request) -> Response:
        """`POST /v2/repository/index`."""
        ready = (await read_object(request)).get("ready", False)
        if not isinstance(ready, bool):
            raise BadRequest("ready: must be true or false")
        entries = await self._parts().repository.index(ready=ready)
        return _json([http_codec.entry(entry) for entry in entries])

    async def load(self, request: Request) -> Response:
        """`POST /v2/repository/models/{name}/load`."""
        actor = guard.actor()
        parameters = read_parameters(await read_object(request))
        await self._parts().repository.load(request.path_params["name"], parameters, actor)
        return _json({})

    async def unload(self, request: Request) -> Response:
        """`POST /v2/repository/models/{name}/unload`."""
        actor = guard.actor()
        read_parameters(await read_object(request))
        await self._parts().repository.unload(request.path_params["name"], actor)
        return _json({})


def _json(document: Any) -> Response:
    return Response(orjson.dumps(document), media_type="application/json")


def _version(request: Request) -> str | None:
    version: str | None = request.path_params.get("version")
    return version


def _base_request(request: Request) -> BaseRequest:
    state = context.current.get()
    return BaseRequest(
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
        outputs=http_codec.http_request_names(parsed.outputs),
        request_id=state.request_id,
        deadline=state.deadline,
        received=state.received,
        key=state.route_key,
    )
