"""Errors on HTTP: one table of statuses, one shape `{"error": {"code", "message", "request_id"}}`.

Under /v2 both are the Open Inference Protocol's, `{"error": "message"}`, and under /v1 the same.
"""

from __future__ import annotations

from collections.abc import Mapping

import orjson
from starlette.responses import Response

from api import context
from api.context import RequestContext
from hotswap import errors
from hotswap.errors import ServingError


class BodyTooLarge(errors.BadRequest):
    """The request body has more bytes than the service takes."""

    code = "body_too_large"


class MalformedRequest(errors.BadRequest):
    """The bytes are no HTTP request, or one that can be read as two; nothing behind it is read."""


class HeadersTooLarge(errors.BadRequest):
    """The headers have more bytes than the service takes."""

    code = "headers_too_large"


class RequestTimeout(errors.DeadlineExceeded):
    """The request's headers, or its body, did not come on."""

    code = "request_timeout"


class UnsupportedMediaType(errors.BadRequest):
    """The body's Content-Type is none that the route reads."""

    code = "unsupported_media_type"


class UnsupportedEncoding(UnsupportedMediaType):
    """The body's Content-Encoding is none that is read; `accepted` are."""

    def __init__(self, message: str, *, accepted: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.accepted = accepted


class NotAcceptable(errors.BadRequest):
    """The caller takes no format that the answer can be given in."""

    code = "not_acceptable"


class NotSupported(ServingError):
    """The protocol knows the call, and this service has not got it; the message says what to do."""

    code = "not_supported"


class Unauthorized(ServingError):
    """A changing call came without the admin token."""

    code = "unauthorized"


class Forbidden(ServingError):
    """A changing call came with a wrong admin token."""

    code = "forbidden"


class AdminTokenRequired(ServingError):
    """The service listens beyond loopback and has no admin token: nobody may change anything."""

    code = "admin_token_required"


#: The most special class first: the first that fits gives the status.
HTTP: tuple[tuple[type[ServingError], int], ...] = (
    (errors.PictureTooLarge, 422),
    (errors.UnsupportedPicture, 415),
    (UnsupportedMediaType, 415),
    (BodyTooLarge, 413),
    (HeadersTooLarge, 431),
    (NotAcceptable, 406),
    (errors.BadRequest, 400),
    (Unauthorized, 401),
    (Forbidden, 403),
    (AdminTokenRequired, 403),
    (NotSupported, 501),
    (errors.ModelNotFound, 404),
    (errors.VersionNotFound, 404),
    (errors.VersionNotLoaded, 409),
    (errors.Conflict, 409),
    (errors.Superseded, 409),
    (errors.VersionFailed, 409),
    (errors.Overloaded, 429),
    (errors.ModelNotReady, 503),
    (errors.ShuttingDown, 503),
    (errors.StateUnavailable, 503),
    (RequestTimeout, 408),
    (errors.DeadlineExceeded, 504),
)

#: The same for the Open Inference Protocol: whatever it knows no status for is 400.
PROTOCOL: tuple[tuple[type[ServingError], int], ...] = (
    (errors.PictureTooLarge, 400),
    (errors.UnsupportedPicture, 400),
    (errors.ModelNotLoaded, 503),
    (errors.VersionNotLoaded, 400),
    (errors.VersionFailed, 400),
    (errors.Conflict, 400),
    (errors.Superseded, 400),
    *HTTP,
)

#: What a status that the framework made by itself is called in our shape.
FRAMEWORK: Mapping[int, tuple[str, str]] = {
    400: ("invalid_argument", "the request cannot be read"),
    404: ("not_found", "there is no such path; GET /docs.json lists them"),
    405: ("method_not_allowed", "the path does not take this method; the header Allow lists those it takes"),
    413: ("body_too_large", "the body is too large"),
    415: ("unsupported_media_type", "the path does not take this Content-Type"),
    429: ("overloaded", "no room for one more request right now; try again shortly"),
    503: ("unavailable", "the service cannot answer right now; try again shortly"),
    504: ("deadline_exceeded", "no answer within the request's time"),
}
_REFUSED = ("refused", "the request cannot be served as it is")
_INTERNAL = ("internal_error", "something went wrong in the service; its log has the request id")


def status_of(error: ServingError, table: tuple[tuple[type[ServingError], int], ...] = HTTP) -> int:
    """The HTTP status of an error; 500 for those that are the service's own fault."""
    return next((status for kind, status in table if isinstance(error, kind)), 500)


def body(code: str, message: str, state: RequestContext) -> bytes:
    """The one error shape; marks the request as answered in it."""
    state.shaped = True
    if state.protocol:
        return orjson.dumps({"error": message})
    return orjson.dumps({"error": {"code": code, "message": message, "request_id": state.request_id}})


def framework_body(status: int, state: RequestContext) -> bytes:
    """The error shape for a status that the framework made by itself."""
    code, message = FRAMEWORK.get(status, _INTERNAL if status >= 500 else _REFUSED)
    return body(code, message, state)


def response(error: ServingError) -> Response:
    """The response that tells of an error. Marks the request as answered in our shape."""
    state = context.current.get()
    state.problem = error
    status = status_of(error, PROTOCOL if state.protocol else HTTP)
    headers = {"Retry-After": "1"} if status in (429, 503) else {}
    if status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    if status == 406:
        headers["Vary"] = "Accept"
    if isinstance(error, UnsupportedEncoding):
        headers["Accept-Encoding"] = ", ".join(error.accepted)
    if status == 413:
        headers["Connection"] = "close"
    state.linger = isinstance(error, BodyTooLarge | HeadersTooLarge | MalformedRequest)
    text = body(error.code, error.message, state)
    return Response(text, status, headers, "application/json")
