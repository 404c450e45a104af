"""Pictures that requests name instead of sending them: objects in buckets, `s3://bucket/key`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Protocol

from api.budget import ByteBudget
from hotswap.errors import BadRequest, BucketNotAllowed, ObjectsUnavailable

_SCHEME = "s3://"
_LONGEST = 2_000


class ObjectSource(Protocol):
    """Reads objects from the buckets that are allowed."""

    async def read(self, bucket: str, key: str, hold: Callable[[int], None]) -> bytes:
        """The bytes of an object; `hold` gets their number first, and may raise.

        Raises `BucketNotAllowed`, `ObjectNotFound`, `PictureTooLarge`, `ObjectsUnavailable`, `BadRequest`.
        """
        ...


def is_uri(data: bytes) -> bool:
    """Whether bytes that should be a picture name one instead."""
    return data.startswith(_SCHEME.encode())


def parse_uri(text: str, field: str) -> tuple[str, str]:
    """Bucket and key of `s3://bucket/key`. Raises `BadRequest`, or `BucketNotAllowed` for another scheme."""
    if not text.startswith(_SCHEME):
        raise BucketNotAllowed(f"{field}: {text[:80]!r}: allowed is s3://bucket/key")
    bucket, _, key = text.removeprefix(_SCHEME).partition("/")
    if not bucket or not key or len(text) > _LONGEST:
        raise BadRequest(f"{field}: {text[:80]!r}: allowed is s3://bucket/key")
    return bucket, key


async def read_in_time(
    source: ObjectSource, bucket: str, key: str, deadline: float, hold: Callable[[int], None]
) -> bytes:
    """As `ObjectSource.read`; at the deadline raises `ObjectsUnavailable`."""
    try:
        async with asyncio.timeout(deadline - time.monotonic()):
            return await source.read(bucket, key, hold)
    except TimeoutError:
        raise ObjectsUnavailable(f"{bucket}/{key[:200]} did not come within the request's time") from None


@dataclass(frozen=True, slots=True)
class NamedPictures:
    """Reads the pictures that calls name, within the budget of bytes for all bodies."""

    source: ObjectSource
    bodies: ByteBudget

    @asynccontextmanager
    async def read(self, uri: str, field: str, deadline: float) -> AsyncIterator[bytes]:
        """The picture at `s3://bucket/key`, counted while the block runs.

        Raises as `parse_uri` and `ObjectSource.read` do, and `Overloaded`.
        """
        held = 0

        def hold(size: int) -> None:
            nonlocal held
            self.bodies.add(size)
            held += size

        try:
            yield await read_in_time(self.source, *parse_uri(uri, field), deadline, hold)
        finally:
            self.bodies.remove(held)
