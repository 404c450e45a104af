"""HTTP/2 by hand, for what no client would send.

Source: RFC 9113 (frames), RFC 7541 (fields, here without tables and Huffman's code), gRPC's PROTOCOL-HTTP2.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _SETTINGS, _WINDOW_UPDATE = 0, 1, 4, 8
#: SETTINGS_INITIAL_WINDOW_SIZE: how many bytes of an answer are taken.
_WINDOW = 4
_END_STREAM, _END_HEADERS = 1, 4


class Wire:
    """One connection. What comes back is not read: the server's own figures tell what became of a call."""

    def __init__(self, writer: asyncio.StreamWriter, window: int) -> None:
        self._writer = writer
        self._stream = -1
        writer.write(_PREFACE + _frame(_SETTINGS, 0, 0, struct.pack(">HI", _WINDOW, window)))

    def take(self, size: int) -> None:
        """Let so many bytes more come for the call begun last."""
        self._writer.write(_frame(_WINDOW_UPDATE, 0, self._stream, struct.pack(">I", size)))

    def call(self, method: str, more: Mapping[str, bytes] | None = None) -> None:
        """Begin a call, with these metadata."""
        self._stream += 2
        fields = {
            ":method": b"POST",
            ":scheme": b"http",
            ":path": method.encode(),
            ":authority": b"test",
            "content-type": b"application/grpc",
            "te": b"trailers",
            **(more or {}),
        }
        block = b"".join(b"\0" + _text(name.encode()) + _text(value) for name, value in fields.items())
        self._writer.write(_frame(_HEADERS, _END_HEADERS, self._stream, block))

    def send(self, data: bytes, *, end: bool = False) -> None:
        """Bytes of the call begun last."""
        self._writer.write(_frame(_DATA, _END_STREAM if end else 0, self._stream, data))


def message(data: bytes, *, size: int | None = None, compressed: int = 0) -> bytes:
    """A message, which says of itself that it has so many bytes."""
    return struct.pack(">BI", compressed, len(data) if size is None else size) + data


def _text(value: bytes) -> bytes:
    assert len(value) < 127
    return bytes([len(value)]) + value


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return struct.pack(">IBI", len(payload) << 8 | kind, flags, stream) + payload


@asynccontextmanager
async def wire(port: int, window: int = 65_535) -> AsyncIterator[Wire]:
    """A connection to this machine, closed afterwards. `window`: bytes that each answer may have for now."""
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield Wire(writer, window)
    finally:
        writer.close()
        await writer.wait_closed()
