"""The metrics on a port of their own, for a Prometheus that must not reach the API.

Every worker tries to listen there, and the one that does answers for all. When it ends, the kernel frees
the port, and another worker has it at its next try.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable
from contextlib import suppress

from telemetry.observers import CONTENT_TYPE

logger = logging.getLogger("bentoml.okawari.metrics")

#: Seconds between two tries to listen, and seconds that a client has for one request.
_PAUSE = 2.0
_PATIENCE = 10.0
#: Connections at once; further ones are closed. Bytes of the longest request.
MOST_CONNECTIONS = 16
LONGEST_REQUEST = 8192

_REASONS = {200: "OK", 400: "Bad Request", 404: "Not Found", 405: "Method Not Allowed"}


class MetricsPort:
    """Answers `GET /metrics` on `host:port`, as long as no other process has the port; 0: nowhere.

    `render` is called in a thread. Used on the event loop.
    """

    def __init__(
        self,
        host: str,
        port: int,
        render: Callable[[], bytes],
        *,
        pause: float = _PAUSE,
        patience: float = _PATIENCE,
    ) -> None:
        self._host, self._port = host, port
        self._render = render
        self._pause, self._patience = pause, patience
        self._answers: set[asyncio.Task[None]] = set()
        self._task: asyncio.Task[None] | None = None
        self.listens = asyncio.Event()

    def start(self) -> None:
        """Try to listen, now and again, until `stop`."""
        if self._port:
            self._task = asyncio.create_task(self._serve(), name="okawari-metrics-port")

    async def stop(self) -> None:
        """Free the port and close what is open."""
        tasks = [*self._answers, *([self._task] if self._task else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _serve(self) -> None:
        with await self._listen() as listener:
            logger.info("metrics are on %s port %d, too", self._host, self._port)
            self.listens.set()
            try:
                await self._accept(listener)
            finally:
                self.listens.clear()

    async def _listen(self) -> socket.socket:
        # Not by the loop's own servers: the next one of those is HTTP's, see `workers.listener.spread`.
        family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
        while True:
            try:
                listener = socket.create_server((self._host, self._port), family=family)
            except OSError as error:  # another worker has it
                logger.debug("metrics do not listen on port %d: %s", self._port, error)
                await asyncio.sleep(self._pause)
            else:
                listener.setblocking(False)
                return listener

    async def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = await asyncio.get_running_loop().sock_accept(listener)
            except OSError as error:  # no descriptor is left, or the client has gone
                logger.debug("a connection for the metrics was lost: %s", error)
                await asyncio.sleep(self._pause)
                continue
            if len(self._answers) >= MOST_CONNECTIONS:
                connection.close()
                continue
            task = asyncio.create_task(self._answer(connection))
            self._answers.add(task)
            task.add_done_callback(self._answers.discard)

    async def _answer(self, connection: socket.socket) -> None:
        """One request, then the connection ends."""
        with connection, suppress(OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            async with asyncio.timeout(self._patience):  # TimeoutError is an OSError
                reader, writer = await asyncio.open_connection(sock=connection, limit=LONGEST_REQUEST)
                try:
                    head = await reader.readuntil(b"\r\n\r\n")
                    writer.write(await self._response(head.split(b"\r\n", 1)[0]))
                    await writer.drain()
                finally:
                    writer.close()
                await writer.wait_closed()

    async def _response(self, line: bytes) -> bytes:
        match line.split(b" "):
            case [b"GET" | b"HEAD" as method, target, b"HTTP/1.1" | b"HTTP/1.0"]:
                if target.partition(b"?")[0] != b"/metrics":
                    return _message(404, b"only /metrics is here\n", "text/plain")
                text = await asyncio.to_thread(self._render)
                return _message(200, text, CONTENT_TYPE, headers_only=method == b"HEAD")
            case [_, _, b"HTTP/1.1" | b"HTTP/1.0"]:
                return _message(405, b"only GET is answered\n", "text/plain")
            case _:
                return _message(400, b"this is no HTTP\n", "text/plain")


def _message(status: int, body: bytes, content_type: str, *, headers_only: bool = False) -> bytes:
    head = (
        f"HTTP/1.1 {status} {_REASONS[status]}\r\nContent-Type: {content_type}\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + (b"" if headers_only else body)
