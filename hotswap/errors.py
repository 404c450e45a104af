"""The errors of serving, as meanings. Each wire has one table that turns them into statuses.

ServingError
├── BadRequest                the caller's fields are wrong
│   ├── BadPicture            the bytes are not a picture that can be read
│   ├── PictureTooLarge       more pixels than the limit
│   ├── UnsupportedPicture    a format that the service does not read
│   └── ModelRequired         no model was named and there is no default
├── ModelNotFound             no such model
├── VersionNotFound           no such version of that model
├── VersionNotLoaded          the version exists and does not answer
│   └── ModelNotLoaded        no version of the model is wanted to answer
├── ModelNotReady             the model is known and nothing serves yet
├── InsufficientMemory        the model does not fit into the memory of the service
├── Overloaded                no room for one more request right now
├── DeadlineExceeded          the answer did not come in time
├── ModelFailed               the model ran and its outputs cannot be used
│   └── AdapterFailed         a team's own code raised, or gave something else than an answer
├── ObjectNotFound            the bucket has no such object
├── BucketNotAllowed          pictures are not read from that bucket
├── ObjectsUnavailable        the object store cannot be asked
├── Conflict                  somebody changed the state since it was read
├── Overtaken                 a later change wants something else
├── VersionFailed             the version cannot be loaded or failed its check
├── StateUnavailable          the desired state cannot be read or written
└── ShuttingDown              the service takes no new work
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

#: What a picture may be encoded as, for people; the last needs an extra: okawari[heif].
PICTURE_FORMATS = "JPEG, PNG, WebP, BMP, AVIF or HEIC"


class ServingError(Exception):
    """Root of all. `code` is stable and read by programs, the message is read by people."""

    code = "internal_error"
    #: Whether the same request may succeed later without being changed.
    transient = False

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class BadRequest(ServingError):
    """The caller's fields are wrong; the message names field, value and what is allowed."""

    code = "invalid_argument"


class BadPicture(BadRequest):
    """The bytes are broken, truncated or empty."""

    code = "invalid_image"


class PictureTooLarge(BadRequest):
    """The picture has more pixels than the service decodes."""

    code = "image_too_large"


class UnsupportedPicture(BadRequest):
    """The bytes hold something else than a picture that is read: see `PICTURE_FORMATS`."""

    code = "unsupported_media_type"


class ModelRequired(BadRequest):
    """No model was named and there is no default."""

    code = "model_required"


class ModelNotFound(ServingError):
    """No model of that name is known."""

    code = "model_not_found"


class VersionNotFound(ServingError):
    """The model is known, the version is not."""

    code = "version_not_found"


class VersionNotLoaded(ServingError):
    """The version exists but is not loaded, or is draining."""

    code = "version_not_loaded"


class ModelNotLoaded(VersionNotLoaded):
    """The model exists, nothing serves it and nothing is wanted to."""


class ModelNotReady(ServingError):
    """The model is known and nothing serves it yet."""

    code = "model_not_ready"
    transient = True


class InsufficientMemory(ServingError):
    """The memory of the service has no room for the model; the message has the arithmetic."""

    code = "insufficient_memory"
    transient = True


class Overloaded(ServingError):
    """There is no room for one more request right now."""

    code = "overloaded"
    transient = True


class DeadlineExceeded(ServingError):
    """The answer did not come within the request's time."""

    code = "deadline_exceeded"
    transient = True


class ShuttingDown(ServingError):
    """The process is ending and takes no new work."""

    code = "shutting_down"
    transient = True


class StateUnavailable(ServingError):
    """The desired state cannot be read or written; what serves goes on."""

    code = "state_unavailable"
    transient = True


class ModelFailed(ServingError):
    """The model ran, but its outputs cannot be used (NaN, or a shape it did not declare)."""

    code = "model_failed"


class AdapterFailed(ModelFailed):
    """A team's own code raised, or gave something else than an answer; the message has its reason."""

    code = "adapter_failed"


class ObjectNotFound(ServingError):
    """The bucket has no such object."""

    code = "object_not_found"


class BucketNotAllowed(ServingError):
    """Pictures are not read from that bucket, or by that kind of address."""

    code = "bucket_not_allowed"


class ObjectsUnavailable(ServingError):
    """The object store cannot be asked, or refuses the service's key."""

    code = "objects_unavailable"
    transient = True


class Conflict(ServingError):
    """What the caller expected is no longer so; nothing was changed."""

    code = "conflict"


class Superseded(ServingError):
    """The change was made, and a later one replaced it; the message names that one and its author."""

    code = "superseded"


class VersionFailed(ServingError):
    """The version cannot be loaded, or did not pass its check."""

    code = "version_failed"


def place_of_image(index: int, count: int) -> str:
    """What stands before a message about one of `count` pictures; nothing where there is one alone.

    `index` counts from 0; both ways of counting are given, so that neither has to be known.
    """
    return "" if count == 1 else f"picture {index + 1} of {count} (index {index}): "


@contextmanager
def for_image(index: int, count: int) -> Iterator[None]:
    """Let what is raised about a picture, `BadRequest` of any kind, say which one it is."""
    try:
        yield
    except BadRequest as error:
        raise type(error)(place_of_image(index, count) + error.message) from None


def deadline_exceeded() -> DeadlineExceeded:
    """The message to a caller whose time is over."""
    return DeadlineExceeded("no answer within the request's time; send fewer at once")
