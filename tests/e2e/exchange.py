"""What comes back on a connection for bytes that are sent as they are."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from tests.e2e.sizes import SOON

_STATUS = re.compile(rb"HTTP/1\.[01] (\d{3}) ")


@dataclass(frozen=True, slots=True)
class Answers:
    """All that came until the connection was closed."""

    data: bytes

    @property
    def statuses(self) -> tuple[int, ...]:
        """Of every answer; 100 only asks for a body."""
        found = (int(status) for status in _STATUS.findall(self.data))
        return tuple(status for status in found if status >= 200)

    def named(self, request_id: str) -> int:
        """How many answers have this id."""
        return self.data.lower().count(b"x-request-id: %b\r\n" % request_id.encode())

    def error(self) -> dict[str, Any]:
        """The error in the last answer."""
        return dict(json.loads(self.data.rpartition(b"\r\n\r\n")[2])["error"])


def exchange(port: int, *parts: bytes, after: Callable[[], object] = bool) -> Answers:
    """Send the parts, call `after` after each, and read until the other side closes."""
    data = b""
    with socket.create_connection(("127.0.0.1", port), SOON) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with suppress(ConnectionError):
            for part in parts:
                connection.sendall(part)
                after()
        with suppress(ConnectionError):
            while part := connection.recv(65536):
                data += part
    return Answers(data)
