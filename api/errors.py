"""Errors on HTTP: one table of statuses, one shape.

It is `{"error": {"code", "message", "request_id", "transient"}}`.

Under /v2 both are the Open Inference Protocol's, `{"error": "message"}`, and under /v1 the same.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import orjson
from starlette.responses import Response

from api import context
from api.context import RequestContext
from hotswap import errors
from hotswap.errors import ServingError
from lineage import errors as lineage_errors
from registry.errors import InvalidEntry


class BodyTooLarge(errors.BadRequest):
    """The request body exceeds the size limit."""

    code = "body_too_large"


class MalformedRequest(errors.BadRequest):
    """The bytes are not an HTTP request, or an ambiguous one; the rest of the connection is not read."""


class HeadersTooLarge(errors.BadRequest):
    """The headers exceed the size limit."""

    code = "headers_too_large"


class RequestTimeout(errors.DeadlineExceeded):
    """The client stopped sending the headers or the body."""

    code = "request_timeout"


class UnsupportedMediaType(errors.BadRequest):
    """The route does not accept the body's Content-Type."""

    code = "unsupported_media_type"


class UnsupportedEncoding(UnsupportedMediaType):
    """The body's Content-Encoding is not supported; `accepted` lists the supported ones."""

    def __init__(self, message: str, *, accepted: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.accepted = accepted


class NotAcceptable(errors.BadRequest):
    """The Accept header excludes every format of the answer."""

    code = "not_acceptable"


class ComparisonNotFound(ServingError):
    """No comparison of a version is published; the message has the command that makes one."""

    code = "comparison_not_found"


class NotSupported(ServingError):
    """A call of the protocol that this service does not implement; the message says what to do instead."""

    code = "not_supported"


class Unauthorized(ServingError):
    """A call that needs a token came without one. `challenge` is its answer's WWW-Authenticate."""

    code = "unauthorized"
    challenge = "Bearer"


class InvalidToken(Unauthorized):
    """The bearer token is malformed, expired, meant for others, or not signed by the identity provider.

    The message is plain ASCII without quotes, and says nothing of what was sent.
    """

    code = "invalid_token"

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.challenge = f'Bearer error="invalid_token", error_description="{message}"'


class Forbidden(ServingError):
    """A management call with a wrong admin token."""

    code = "forbidden"


class InsufficientScope(Forbidden):
    """The token is good, but none of its scopes allows the call; the message names the one that is needed."""

    code = "insufficient_scope"

    def __init__(self, message: str, scope: str = "") -> None:
        super().__init__(message)
        self.challenge = f'Bearer error="insufficient_scope", scope="{scope}"'


class IdentityProviderUnavailable(ServingError):
    """No token can be checked: the provider's keys cannot be fetched. `retry_after` is in seconds."""

    code = "identity_provider_unavailable"
    transient = True

    def __init__(self, message: str, retry_after: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class QuotaExceeded(errors.Overloaded):
    """A subject, a device or an organisation has used up its quota; `retry_after` is in seconds."""

    code = "quota_exceeded"

    def __init__(self, message: str, retry_after: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class ForeignDevice(Forbidden):
    """The token belongs to another device than the one that is named."""


class AdminTokenRequired(ServingError):
    """The service is exposed beyond loopback without an admin token: management calls are disabled."""

    code = "admin_token_required"


#: The most specific class first: the first match gives the status.
HTTP: tuple[tuple[type[ServingError], int], ...] = (
    (errors.PictureTooLarge, 422),
    (errors.UnsupportedPicture, 415),
    (UnsupportedMediaType, 415),
    (BodyTooLarge, 413),
    (HeadersTooLarge, 431),
    (NotAcceptable, 406),
    (InvalidEntry, 422),
    (errors.BadRequest, 400),
    (Unauthorized, 401),
    (Forbidden, 403),
    (AdminTokenRequired, 403),
    (NotSupported, 501),
    (errors.ModelNotFound, 404),
    (errors.VersionNotFound, 404),
    (ComparisonNotFound, 404),
    (errors.ObjectNotFound, 404),
    (errors.BucketNotAllowed, 403),
    (errors.AdapterFailed, 422),
    (errors.VersionNotLoaded, 409),
    (errors.Conflict, 409),
    (errors.Superseded, 409),
    (errors.VersionFailed, 409),
    (errors.Overloaded, 429),
    (errors.InsufficientMemory, 507),
    (errors.ModelNotReady, 503),
    (errors.ShuttingDown, 503),
    (errors.StateUnavailable, 503),
    (errors.ObjectsUnavailable, 503),
    (IdentityProviderUnavailable, 503),
    (lineage_errors.StorageFull, 503),
    (RequestTimeout, 408),
    (errors.DeadlineExceeded, 504),
)

#: Statuses of the Open Inference Protocol, which knows fewer: an error without one of its own is 400.
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

#: Statuses of the routes for devices: what is wrong with a picture or a form is 400, what is away 503.
DEVICES: tuple[tuple[type[ServingError], int], ...] = (
    (HeadersTooLarge, 431),
    (RequestTimeout, 408),
    (errors.BadRequest, 400),
    (errors.ModelNotFound, 503),
    (errors.VersionNotFound, 503),
    (errors.VersionNotLoaded, 503),
    (errors.VersionFailed, 503),
    (errors.DeadlineExceeded, 503),
    (errors.InsufficientMemory, 503),
    *HTTP,
)

#: Statuses of `/infer_json`: what is wrong with the picture, and not with the message, is 422.
MESSAGES: tuple[tuple[type[ServingError], int], ...] = (
    (errors.BadPicture, 422),
    (errors.PictureTooLarge, 422),
    (errors.UnsupportedPicture, 422),
    *HTTP,
)

#: Code and message for statuses that the framework produces itself.
FRAMEWORK: Mapping[int, tuple[str, str]] = {
    400: ("invalid_argument", "the request is malformed"),
    404: ("not_found", "there is no such path; GET /docs.json lists them"),
    405: ("method_not_allowed", "the path does not support this method; see the header Allow"),
    413: ("body_too_large", "the body is too large"),
    415: ("unsupported_media_type", "the path does not accept this Content-Type"),
    429: ("overloaded", "the service is at its request limit; retry shortly"),
    503: ("unavailable", "the service is temporarily unavailable; retry shortly"),
    504: ("deadline_exceeded", "the request's deadline was exceeded"),
}
#: Statuses of the framework after which the same request may succeed.
_PASSING = frozenset({429, 503, 504})
_REFUSED = ("refused", "the request was refused")
_INTERNAL = ("internal_error", "internal error; find the request id in the service's log")


def status_of(error: ServingError, table: Sequence[tuple[type[ServingError], int]] = HTTP) -> int:
    """The HTTP status of an error; 500 for internal errors."""
    return next((status for kind, status in table if isinstance(error, kind)), 500)


def body(code: str, message: str, state: RequestContext, *, transient: bool) -> bytes:
    """The body of an error. Marks the response as having our error shape.

    `transient`: the same request may succeed later without being changed.
    """
    state.shaped = True
    if state.protocol:
        return orjson.dumps({"error": message})
    detail = {"code": code, "message": message, "request_id": state.request_id, "transient": transient}
    return orjson.dumps({"error": detail})


def framework_body(status: int, state: RequestContext) -> bytes:
    """The body of an error for a status that the framework produced itself."""
    code, message = FRAMEWORK.get(status, _INTERNAL if status >= 500 else _REFUSED)
    return body(code, message, state, transient=status in _PASSING)


def response(error: ServingError) -> Response:
    """The response of an error. Marks it as having our error shape."""
    state = context.current.get()
    state.problem = error
    status = status_of(error, state.statuses or (PROTOCOL if state.protocol else HTTP))
    headers = {"Retry-After": _seconds(error)} if status in (429, 503) else {}
    if isinstance(error, Unauthorized | InsufficientScope):
        headers["WWW-Authenticate"] = error.challenge
    if status == 406:
        headers["Vary"] = "Accept"
    if isinstance(error, UnsupportedEncoding):
        headers["Accept-Encoding"] = ", ".join(error.accepted)
    if status == 413:
        headers["Connection"] = "close"
    state.linger = isinstance(error, BodyTooLarge | HeadersTooLarge | MalformedRequest)
    text = body(error.code, error.message, state, transient=error.transient)
    return Response(text, status, headers, "application/json")


def _seconds(error: ServingError) -> str:
    """When to come back: after so many whole seconds, at least one."""
    return str(max(1, math.ceil(getattr(error, "retry_after", 1))))
