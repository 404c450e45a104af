"""Bodies under /v2, in and out: read within limits, written beside who answers others when they are long."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import orjson
from starlette.requests import Request
from starlette.responses import Response

from api import body, encodings, errors
from api.context import RequestContext
from api.oip import http_request, http_response
from api.oip.http_request import Parsed
from api.oip.messages import InferResponse, check_parameter
from api.oip.parts import Parts, in_time
from hotswap.errors import BadRequest

T = TypeVar("T")

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


def _check_media(request: Request) -> None:
    media = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media not in _MEDIA:
        raise errors.UnsupportedMediaType(
            f"Content-Type {media[:64]!r}: accepted are application/json, and application/octet-stream with "
            f"{http_response.HEADER}"
        )


async def read(parts: Parts, request: Request, state: RequestContext) -> Parsed:
    """An infer request; a long one is read in a thread that runs models, and what is made of it is held.

    Raises `UnsupportedMediaType`, `BodyTooLarge`, `BadRequest`, `Overloaded`, `DeadlineExceeded`.
    """
    header = request.headers.get(http_response.HEADER)

    def parse(plain: bytes) -> Parsed:
        parsed = http_request.parse(plain, http_request.json_size(header, len(plain)))
        state.hold(parsed.held)
        return parsed

    return await read_as(parse, parts, request, state, lambda size: http_request.json_size(header, size))


async def read_as(
    parse: Callable[[bytes], T],
    parts: Parts,
    request: Request,
    state: RequestContext,
    json_size: Callable[[int], int] = lambda size: size,
) -> T:
    """What `parse` makes of the plain body, in a thread that runs models where its JSON is long.

    `json_size` tells how much of a body of that size is JSON. Raises as `read`, and what `parse` raises.
    """
    _check_media(request)
    encoding = encodings.of_body(request.headers)
    data = await body.read(request)

    def work() -> T:
        plain = data
        if encoding is not None:
            plain = encodings.expand(data, encoding, parts.max_body_bytes, state.hold)
        return parse(plain)

    if encoding is None and json_size(len(data)) <= QUICK:
        return work()
    return await parts.aside(work, state.deadline)


async def written(answer: InferResponse, parsed: Parsed, request: Request, state: RequestContext) -> Response:
    """The response in the form that was asked for.

    Raises `BadRequest` for what that form cannot tell, `Overloaded`, `DeadlineExceeded`.
    """
    weight = http_response.weight(answer)
    return await given(lambda: http_response.encode(answer, parsed.is_binary), weight, request, state)


async def given(
    write: Callable[[], tuple[bytes, dict[str, str]]], weight: int, request: Request, state: RequestContext
) -> Response:
    """The response of what `write` makes, body and headers, of about `weight` bytes; raises as `written`."""
    accepted = request.headers.get("accept-encoding")

    def work() -> Response:
        data, headers = write()
        encoding = encodings.wanted(accepted, len(data))
        if encoding is not None:
            data, headers = encodings.compress(data, encoding), {**headers, "Content-Encoding": encoding}
        return Response(data, headers={**headers, "Vary": "Accept-Encoding"})

    if weight <= QUICK:
        return work()
    # The answer waits for the caller to take it: it counts until then, as text, which is longer, too.
    state.hold(weight)
    response = await in_time(work, state.deadline)
    state.hold(max(0, len(response.body) - weight))
    return response


async def small(request: Request) -> dict[str, Any]:
    """The object in a body that may be empty; raises as `read`."""
    _check_media(request)
    data = await body.read_small(request, _MOST_BYTES)
    if not data:
        return {}
    try:
        found = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise BadRequest(f"the body is not JSON: {error}") from None
    if not isinstance(found, dict):
        raise BadRequest("the body must be an object, or empty")
    return found


def parameters(found: dict[str, Any]) -> dict[str, Any]:
    """The field of that name; raise `BadRequest` for what is none."""
    parameters = found.get("parameters")
    if parameters is None:
        return {}
    if not isinstance(parameters, dict):
        raise BadRequest("parameters: it must be an object")
    for name, value in parameters.items():
        check_parameter("parameters", name, value)
    return parameters
