"""HTTP/1.1 by hand, for clients that do what no library lets them do."""

from __future__ import annotations

import json
import socket
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from tests.e2e.harness import Service
from tests.e2e.sizes import SOON


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole answer; header names in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


class Wire:
    """One connection."""

    def __init__(self, service: Service) -> None:
        self._socket = socket.create_connection(("127.0.0.1", service.port), SOON)
        self._file = self._socket.makefile("rb")

    def __enter__(self) -> Wire:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
        self._socket.close()

    @property
    def port(self) -> int:
        """The client's own port."""
        return int(self._socket.getsockname()[1])

    def fileno(self) -> int:
        """For those who wait until an answer comes on one of many."""
        return self._socket.fileno()

    def send(self, data: bytes) -> None:
        """Send bytes as they are."""
        self._socket.sendall(data)

    def head(self, path: str = "/predict", method: str = "POST", **headers: str | int) -> None:
        """Send a request line and headers; `_` in their names stands for `-`."""
        lines = [f"{method} {path} HTTP/1.1", "Host: test"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        self.send("\r\n".join((*lines, "", "")).encode())

    def chunk(self, data: bytes) -> None:
        """Send one piece of a chunked body; an empty one ends it."""
        self.send(b"%x\r\n%b\r\n" % (len(data), data))

    def finish(self) -> None:
        """Say that nothing more will be sent; answers can still be read."""
        self._socket.shutdown(socket.SHUT_WR)

    def wait_for_continue(self) -> None:
        """Wait until the server asks for the body, which tells that it has read the headers."""
        status, _ = self._head()
        assert status == 100

    def reply(self, method: str = "POST") -> Reply:
        """Read one answer."""
        status, headers = self._head()
        if method == "HEAD":
            return Reply(status, headers, b"")
        if headers.get("transfer-encoding") == "chunked":
            return Reply(status, headers, self._chunks())
        return Reply(status, headers, self._file.read(int(headers["content-length"])))

    def at_end(self) -> bool:
        """Wait for the server's next byte; whether it closed the connection instead."""
        try:
            return self._file.read(1) == b""
        except ConnectionError:
            return True

    def _head(self) -> tuple[int, dict[str, str]]:
        line = self._file.readline()
        if not line:
            raise ConnectionError("closed without an answer")
        status = int(line.split()[1])
        headers: dict[str, str] = {}
        while (text := self._file.readline().strip()) != b"":
            name, _, value = text.decode("latin-1").partition(":")
            headers[name.lower()] = value.strip()
        return status, headers

    def _chunks(self) -> bytes:
        whole = b""
        while size := int(self._file.readline(), 16):
            whole += self._file.read(size)
            self._file.readline()
        self._file.readline()
        return whole
