"""Pictures that messages name: objects in the buckets of one S3-compatible store. Needs okawari[s3]."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Collection
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from adapters.pictures.picture_options import PictureOptions
from hotswap.errors import BadRequest, BucketNotAllowed, ObjectNotFound, ObjectsUnavailable, PictureTooLarge

if TYPE_CHECKING:
    from obstore.store import S3Store

_RETRIES = 3
_CODE = re.compile(r"<Code>(\w{1,60})</Code>")
_NO_OBJECT = ("NoSuchKey", "NotFound")
_REFUSED = re.compile(
    r"\b(401 Unauthorized|403 Forbidden|AccessDenied|InvalidAccessKeyId|SignatureDoesNotMatch)\b"
)


class ObjectReader:
    """Reads whole objects. May be used by many requests at once, in one event loop."""

    def __init__(self, options: PictureOptions, buckets: Collection[str], max_bytes: int) -> None:
        """Read from `buckets` alone, and no object of more than `max_bytes`. Asks nothing yet."""
        self._options = options
        self._buckets = frozenset(buckets)
        self._max_bytes = max_bytes
        self._stores: dict[str, S3Store] = {}

    async def read(self, bucket: str, key: str, hold: Callable[[int], None]) -> bytes:
        """The bytes of an object; `hold` gets their number first, and may raise.

        Raises `BucketNotAllowed`, `ObjectNotFound`, `PictureTooLarge`, `ObjectsUnavailable`, and
        `BadRequest` for a key that no object can have.
        """
        if bucket not in self._buckets:
            allowed = ", ".join(sorted(self._buckets)) or "none"
            raise BucketNotAllowed(f"bucket {bucket[:64]!r} is not read from; allowed are {allowed}")
        import obstore

        try:
            found = await obstore.get_async(self._store(bucket), key)
            size = found.meta["size"]
            if size > self._max_bytes:
                raise PictureTooLarge(
                    f"{bucket}/{key[:200]} has {size} bytes; at most {self._max_bytes} are read"
                )
            hold(size)
            return bytes(await found.bytes_async())
        except FileNotFoundError as error:
            raise self._missing(bucket, key, error) from None
        except asyncio.CancelledError:
            raise
        except (BadRequest, ObjectsUnavailable):
            raise
        except (obstore.exceptions.BaseError, OSError, ValueError) as error:
            raise self._problem(bucket, key, error) from None

    def _store(self, bucket: str) -> S3Store:
        found = self._stores.get(bucket)
        if found is None:
            found = self._stores[bucket] = _store(bucket, self._options)
        return found

    def _missing(self, bucket: str, key: str, error: Exception) -> Exception:
        """What 404 means: some stores answer so to a key that they do not know."""
        code = _CODE.search(str(error))
        if code is not None and code[1] == "NoSuchBucket":
            return ObjectNotFound(f"there is no bucket {bucket}")
        if code is not None and code[1] not in _NO_OBJECT:
            return ObjectsUnavailable(f"the object store answers {code[1]} for {bucket}: is its key known?")
        return ObjectNotFound(f"there is no object {key[:200]!r} in {bucket}")

    def _problem(self, bucket: str, key: str, error: Exception) -> Exception:
        text = str(error)
        if "Could not parse path" in text:
            return BadRequest(f"key: {key[:200]!r} is no name of an object")
        if _REFUSED.search(text):
            return ObjectsUnavailable(f"the object store refuses the access key for {bucket}")
        for secret in filter(None, (self._options.secret_key, self._options.access_key)):
            text = text.replace(secret, "***")
        reason = text.strip().partition("\n")[0][:200]
        return ObjectsUnavailable(f"the object store cannot be asked for {bucket}: {reason}")


def _store(bucket: str, options: PictureOptions) -> S3Store:
    from obstore.store import S3Store

    keys: dict[str, Any] = {"skip_signature": True}
    if options.access_key:
        keys = {"access_key_id": options.access_key, "secret_access_key": options.secret_key}
    return S3Store(
        bucket,
        endpoint=options.endpoint,
        region=options.region,
        **keys,
        client_options={
            "allow_http": options.allow_http,
            "timeout": timedelta(seconds=options.seconds),
            "connect_timeout": timedelta(seconds=min(options.seconds, 3)),
        },
        retry_config={"max_retries": _RETRIES, "retry_timeout": timedelta(seconds=options.seconds)},
    )
