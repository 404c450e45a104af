"""Bodies that are compressed on their way: gzip, and deflate as HTTP means it (zlib)."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable

from api.errors import BodyTooLarge, UnsupportedMediaType
from hotswap.errors import BadRequest

_WINDOWS = {"gzip": 31, "deflate": 15}
#: Bytes expanded at once, and the shortest answer that is worth compressing.
_STEP, _WORTH = 262_144, 1024
_PLAIN = ("", "identity")


def of_body(header: str | None) -> str | None:
    """The encoding of a body; None for a plain one. Raises `UnsupportedMediaType`."""
    name = (header or "").strip().lower()
    if name in _PLAIN:
        return None
    if name not in _WINDOWS:
        raise UnsupportedMediaType(f"Content-Encoding {name[:32]!r}: accepted are {', '.join(_WINDOWS)}")
    return name


def wanted(header: str | None, size: int) -> str | None:
    """The encoding for an answer of `size` bytes: only where the caller takes that one and no other.

    Most clients name several without meaning it, and compressing costs more time than it saves nearby.
    """
    name = (header or "").strip().lower()
    return name if name in _WINDOWS and size >= _WORTH else None


def expand(body: bytes, name: str, limit: int, hold: Callable[[int], None]) -> bytes:
    """The plain body, never more than `limit` bytes of it at any time.

    `hold` is told of every piece before the next one is made. Raises `BodyTooLarge`, `BadRequest`, and
    what `hold` raises.
    """
    unpack = zlib.decompressobj(_WINDOWS[name])
    parts: list[bytes] = []
    size, rest = 0, body
    try:
        while not unpack.eof:
            parts.append(unpack.decompress(rest, _STEP))
            rest = unpack.unconsumed_tail
            size += len(parts[-1])
            if size > limit:
                raise BodyTooLarge(f"the body has more than {limit} bytes when it is expanded; send less")
            hold(len(parts[-1]))
            if not parts[-1] and not rest:
                break
    except zlib.error as error:
        raise BadRequest(f"the body is not {name}: {error}") from None
    if not unpack.eof or unpack.unused_data:
        raise BadRequest(f"the body is not one whole {name} stream")
    return b"".join(parts)


def compress(body: bytes, name: str) -> bytes:
    """The body in that encoding, quickly rather than small."""
    return gzip.compress(body, 1, mtime=0) if name == "gzip" else zlib.compress(body, 1)
