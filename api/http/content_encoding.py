"""Compressed bodies: gzip and deflate (zlib by the standard, or raw as some clients send it)."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable

from starlette.datastructures import Headers

from api.errors import BodyTooLarge, UnsupportedEncoding
from hotswap.errors import BadRequest

ACCEPTED = ("gzip", "deflate")
#: Aliases of encodings; RFC 9110 keeps `x-gzip` for old clients.
_ALIASES = {"x-gzip": "gzip", "identity": "", "": ""}
_GZIP, _ZLIB, _RAW = 31, 15, -15
#: Bytes of one input piece, bytes of one output step, and the smallest answer that is compressed.
_PIECE, _STEP, _WORTH = 16_384, 262_144, 1024
#: Most members of one gzip body: parallel compressors write one per block.
_MOST_MEMBERS = 4096


def of_body(headers: Headers) -> str | None:
    """The encoding of a body; None for a plain one. Raises `UnsupportedEncoding`."""
    value = ", ".join(headers.getlist("content-encoding"))
    names = [_ALIASES.get(name, name) for name in (part.strip().lower() for part in value.split(","))]
    encodings = [name for name in names if name]
    if not encodings:
        return None
    if len(encodings) > 1 or encodings[0] not in ACCEPTED:
        raise UnsupportedEncoding(
            f"Content-Encoding {value[:64]!r}: accepted is one of {', '.join(ACCEPTED)}, or none",
            accepted=ACCEPTED,
        )
    return encodings[0]


def for_answer(header: str | None, size: int) -> str | None:
    """The encoding for an answer of `size` bytes: only if the Accept-Encoding names exactly one.

    Most clients list several by default, and on a fast network compression costs more time than it saves.
    """
    name = (header or "").strip().lower()
    return name if name in ACCEPTED and size >= _WORTH else None


def expand(body: bytes, name: str, limit: int, hold: Callable[[int], None]) -> bytes:
    """The decompressed body, never more than `limit` bytes of it at any time.

    `hold` is called with the size of each piece before the next one is made. Raises `BodyTooLarge`,
    `BadRequest`, and the errors of `hold`.
    """
    output = _Decompressor(limit, hold)
    at, members = 0, 0
    try:
        while at < len(body) or not members:
            at = output.member(body, at, _window(name, body))
            members += 1
            if at < len(body) and (name != "gzip" or members == _MOST_MEMBERS):
                raise BadRequest(f"the body is not one {name} stream: more data follows after {at} bytes")
    except zlib.error as error:
        raise BadRequest(f"the body is not {name}, as Content-Encoding says: {error}") from None
    except EOFError:
        raise BadRequest(f"the body is a truncated {name} stream") from None
    return b"".join(output.parts)


def _window(name: str, body: bytes) -> int:
    """The `wbits` of zlib. Deflate without zlib's header is accepted, as in browsers."""
    if name == "gzip":
        return _GZIP
    return _ZLIB if body[:1] and body[0] & 0x0F == zlib.DEFLATED else _RAW


class _Decompressor:
    """Decompresses one body into `parts`."""

    def __init__(self, limit: int, hold: Callable[[int], None]) -> None:
        self.parts: list[bytes] = []
        self._size = 0
        self._limit = limit
        self._hold = hold

    def member(self, body: bytes, at: int, window: int) -> int:
        """Decompress the stream at `at`; return its end. Raises `EOFError` if it is truncated."""
        unpack = zlib.decompressobj(window)
        while not unpack.eof:
            # Small pieces: zlib copies the unconsumed tail of a piece each time.
            piece = body[at : at + _PIECE]
            if not piece:
                raise EOFError
            at += len(piece)
            whole = True
            # After a full step zlib may still hold output, even if it has consumed the whole piece.
            while not unpack.eof and (piece or whole):
                part = unpack.decompress(piece, _STEP)
                self._add(part)
                piece, whole = unpack.unconsumed_tail, len(part) == _STEP
        return at - len(unpack.unused_data)

    def _add(self, part: bytes) -> None:
        self._size += len(part)
        if self._size > self._limit:
            raise BodyTooLarge(f"the body has more than {self._limit} bytes after decompression; send less")
        self._hold(len(part))
        self.parts.append(part)


def compress(body: bytes, name: str) -> bytes:
    """The compressed body; the level favours speed."""
    return gzip.compress(body, 1, mtime=0) if name == "gzip" else zlib.compress(body, 1)
