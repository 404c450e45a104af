"""Bodies that are compressed on their way: gzip, and deflate (zlib as HTTP means it, or raw as some do)."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable

from starlette.datastructures import Headers

from api.errors import BodyTooLarge, UnsupportedEncoding
from hotswap.errors import BadRequest

ACCEPTED = ("gzip", "deflate")
#: Other names of what is read: RFC 9110 keeps the first for old clients.
_ALIASES = {"x-gzip": "gzip", "identity": "", "": ""}
_GZIP, _ZLIB, _RAW = 31, 15, -15
#: Bytes that are given to the library at once, bytes expanded at once, and the shortest answer that is worth
#: compressing.
_PIECE, _STEP, _WORTH = 16_384, 262_144, 1024
#: Members of one gzip body: compressors that work in parallel write one for each of their blocks.
_MOST_MEMBERS = 4096


def of_body(headers: Headers) -> str | None:
    """The encoding of a body; None for a plain one. Raises `UnsupportedEncoding`."""
    told = ", ".join(headers.getlist("content-encoding"))
    names = [_ALIASES.get(name, name) for name in (each.strip().lower() for each in told.split(","))]
    encodings = [name for name in names if name]
    if not encodings:
        return None
    if len(encodings) > 1 or encodings[0] not in ACCEPTED:
        raise UnsupportedEncoding(
            f"Content-Encoding {told[:64]!r}: accepted are {', '.join(ACCEPTED)}, one of them, or none",
            accepted=ACCEPTED,
        )
    return encodings[0]


def wanted(header: str | None, size: int) -> str | None:
    """The encoding for an answer of `size` bytes: only where the caller takes that one and no other.

    Most clients name several without meaning it, and compressing costs more time than it saves nearby.
    """
    name = (header or "").strip().lower()
    return name if name in ACCEPTED and size >= _WORTH else None


def expand(body: bytes, name: str, limit: int, hold: Callable[[int], None]) -> bytes:
    """The plain body, never more than `limit` bytes of it at any time.

    `hold` is told of every piece before the next one is made. Raises `BodyTooLarge`, `BadRequest`, and
    what `hold` raises.
    """
    expanding = _Expanding(limit, hold)
    at, members = 0, 0
    try:
        while at < len(body) or not members:
            at = expanding.member(body, at, _window(name, body))
            members += 1
            if at < len(body) and (name != "gzip" or members == _MOST_MEMBERS):
                raise BadRequest(f"the body is not one whole {name} stream: more follows after {at} bytes")
    except zlib.error as error:
        raise BadRequest(f"the body is not {name}, as Content-Encoding says: {error}") from None
    except EOFError:
        raise BadRequest(f"the body is not one whole {name} stream: it ends too soon") from None
    return b"".join(expanding.parts)


def _window(name: str, body: bytes) -> int:
    """How the library is to read it. Deflate without zlib's head is read, as browsers read it."""
    if name == "gzip":
        return _GZIP
    return _ZLIB if body[:1] and body[0] & 0x0F == zlib.DEFLATED else _RAW


class _Expanding:
    """What has been expanded of one body."""

    def __init__(self, limit: int, hold: Callable[[int], None]) -> None:
        self.parts: list[bytes] = []
        self._size = 0
        self._limit = limit
        self._hold = hold

    def member(self, body: bytes, at: int, window: int) -> int:
        """Expand one stream that begins at `at`; where it ends. Raises `EOFError` where it does not."""
        unpack = zlib.decompressobj(window)
        while not unpack.eof:
            # Whatever the library gives back of a piece is copied each time.
            piece = body[at : at + _PIECE]
            if not piece:
                raise EOFError
            at += len(piece)
            whole = True
            # A step that is full may have left something in the library, though it has read all of the piece.
            while not unpack.eof and (piece or whole):
                part = unpack.decompress(piece, _STEP)
                self._add(part)
                piece, whole = unpack.unconsumed_tail, len(part) == _STEP
        return at - len(unpack.unused_data)

    def _add(self, part: bytes) -> None:
        self._size += len(part)
        if self._size > self._limit:
            raise BodyTooLarge(f"the body has more than {self._limit} bytes when it is expanded; send less")
        self._hold(len(part))
        self.parts.append(part)


def compress(body: bytes, name: str) -> bytes:
    """The body in that encoding, quickly rather than small."""
    return gzip.compress(body, 1, mtime=0) if name == "gzip" else zlib.compress(body, 1)
