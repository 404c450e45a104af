"""What can go wrong with pictures and their records, in the family of `hotswap.errors`.

ServingError
├── BadRequest
│   └── KeyReused                  the Idempotency-Key belongs to another picture
├── Overloaded
│   └── RateExceeded               a device hands in more than it may
├── StateUnavailable
│   ├── RecordsUnavailable         the database of the records cannot be used
│   │   └── BadDatabaseUrl         the URL names no database that records may be in
│   └── PicturesUnavailable        the picture store cannot be used
│       ├── BadPicturePlace        no store is named so, or no picture may have that path
│       ├── PictureNotFound         nothing lies at that path
│       └── PathTaken              another picture lies at that path
└── StorageFull                    the limit of the storage is reached
"""

from __future__ import annotations

from hotswap.errors import BadRequest, Overloaded, ServingError, StateUnavailable


class KeyReused(BadRequest):
    """The Idempotency-Key was used for another picture; nothing was stored."""

    code = "idempotency_key_reused"


class RateExceeded(Overloaded):
    """A device hands in more than it may; `retry_after` is in seconds."""

    code = "rate_exceeded"

    def __init__(self, message: str, retry_after: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class RecordsUnavailable(StateUnavailable):
    """The database of the records cannot be read or written; nothing was accepted."""

    code = "records_unavailable"
    transient = True


class BadDatabaseUrl(RecordsUnavailable):
    """The URL names no database that records may be in; the message does not show it."""

    transient = False


class PicturesUnavailable(StateUnavailable):
    """The picture store cannot be read or written; nothing was accepted."""

    code = "pictures_unavailable"
    transient = True


class BadPicturePlace(PicturesUnavailable):
    """No store is named so, or no picture may have that path; nothing was changed."""

    code = "bad_picture_place"
    transient = False


class PictureNotFound(PicturesUnavailable):
    """Nothing lies at that path."""

    code = "picture_not_found"
    transient = False


class PathTaken(PicturesUnavailable):
    """Other bytes lie at that path; nothing was changed."""

    code = "path_taken"
    transient = False


class StorageFull(ServingError):
    """The limit of the storage is reached and nothing may be removed; nothing was accepted."""

    code = "storage_full"
    transient = True
