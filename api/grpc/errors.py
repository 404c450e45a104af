"""Errors on gRPC: one table of status codes. The message is the status's text, `code` goes beside it."""

from __future__ import annotations

import grpc

from api import errors as wire
from hotswap import errors
from hotswap.errors import ServingError

_Code = grpc.StatusCode

#: The most special class first: the first that fits gives the status.
GRPC: tuple[tuple[type[ServingError], grpc.StatusCode], ...] = (
    (wire.BodyTooLarge, _Code.RESOURCE_EXHAUSTED),
    (errors.BadRequest, _Code.INVALID_ARGUMENT),
    (wire.NotSupported, _Code.UNIMPLEMENTED),
    (wire.Unauthorized, _Code.UNAUTHENTICATED),
    (wire.Forbidden, _Code.PERMISSION_DENIED),
    (wire.AdminTokenRequired, _Code.PERMISSION_DENIED),
    (errors.ModelNotFound, _Code.NOT_FOUND),
    (errors.VersionNotFound, _Code.NOT_FOUND),
    (wire.ComparisonNotFound, _Code.NOT_FOUND),
    (errors.ObjectNotFound, _Code.NOT_FOUND),
    (errors.BucketNotAllowed, _Code.PERMISSION_DENIED),
    (errors.ObjectsUnavailable, _Code.UNAVAILABLE),
    (wire.IdentityProviderUnavailable, _Code.UNAVAILABLE),
    (errors.AdapterFailed, _Code.FAILED_PRECONDITION),
    (errors.ModelNotLoaded, _Code.UNAVAILABLE),
    (errors.VersionNotLoaded, _Code.FAILED_PRECONDITION),
    (errors.Conflict, _Code.ABORTED),
    (errors.Superseded, _Code.ABORTED),
    (errors.VersionFailed, _Code.UNAVAILABLE),
    (errors.Overloaded, _Code.RESOURCE_EXHAUSTED),
    (errors.InsufficientMemory, _Code.RESOURCE_EXHAUSTED),
    (errors.ModelNotReady, _Code.UNAVAILABLE),
    (errors.ShuttingDown, _Code.UNAVAILABLE),
    (errors.StateUnavailable, _Code.UNAVAILABLE),
    (errors.DeadlineExceeded, _Code.DEADLINE_EXCEEDED),
)

#: Bytes of a text. Clients refuse more than 8 kB of metadata and then report another status; what is not
#: ASCII takes three times its bytes.
MOST_TEXT = 2_000

_NAMES: dict[int, str] = {code.value[0]: code.name for code in _Code}


def status_of(error: ServingError) -> grpc.StatusCode:
    """The status of an error; INTERNAL for those that are the service's own fault."""
    return next((status for kind, status in GRPC if isinstance(error, kind)), _Code.INTERNAL)


def text_of(error: ServingError) -> str:
    """The message as a status can carry it."""
    text = error.message.encode(errors="replace")
    return text.decode() if len(text) <= MOST_TEXT else text[:MOST_TEXT].decode(errors="ignore") + "…"


def name_of(status: grpc.StatusCode | int | None) -> str:
    """A status by its name, whatever form it has."""
    number = status.value[0] if isinstance(status, grpc.StatusCode) else status
    return _NAMES.get(number or 0, "UNKNOWN")
