"""A load generator that costs little, because it shares the cores with what it measures.

One thread, one selector: keep-alive connections that each send a prepared request as soon as
the answer before it is complete. Of an answer only the status, the length and the words asked for are
read.
"""

from __future__ import annotations

import selectors
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import cycle

_READ = 1 << 18
_SILENCE = 60.0


@dataclass(frozen=True, slots=True)
class Done:
    """One answered request: moments of `time.monotonic()`, status, and `X-Model-Version`."""

    begun: float
    ended: float
    status: int
    version: str

    @property
    def milliseconds(self) -> float:
        """From the first byte sent to the last one received."""
        return (self.ended - self.begun) * 1e3


@dataclass(frozen=True, slots=True)
class Load:
    """What one run of the load generator saw and cost."""

    done: tuple[Done, ...]
    seconds: float
    cpu_seconds: float
    #: Answers that came when the time was up already.
    late: int
    #: Answers other than 200, connections that broke, and answers that never came.
    failed: int

    @property
    def rate(self) -> float:
        """Good answers a second."""
        return sum(one.status == 200 for one in self.done) / self.seconds if self.seconds else 0.0


def request(host: str, port: int, body: bytes, target: str = "/predict") -> bytes:
    """A whole `POST` of one JPEG, as it goes over the wire."""
    head = (
        f"POST {target} HTTP/1.1\r\nHost: {host}:{port}\r\n"
        f"Content-Type: image/jpeg\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


class _Connection:
    """One keep-alive connection and the request that is under way on it."""

    def __init__(self, address: tuple[str, int]) -> None:
        self.socket = socket.create_connection(address, timeout=_SILENCE)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.setblocking(False)
        self.begun = 0.0
        self._unsent = memoryview(b"")
        self._head = bytearray()
        self._missing: int | None = None

    def begin(self, data: bytes) -> None:
        """Start one request."""
        self._unsent = memoryview(data)
        self._head.clear()
        self._missing = None
        self.begun = time.monotonic()

    def push(self) -> bool:
        """Send what the kernel takes; True when the request is out."""
        while self._unsent:
            try:
                sent = self.socket.send(self._unsent)
            except BlockingIOError:
                return False
            self._unsent = self._unsent[sent:]
        return True

    def pull(self) -> bool:
        """Read what has come; True when the answer is complete. Raises OSError if the server left."""
        data = self.socket.recv(_READ)
        if not data:
            raise ConnectionResetError("the server closed the connection")
        if self._missing is None:
            self._head += data
            end = self._head.find(b"\r\n\r\n")
            if end < 0:
                return False
            self._missing = int(self.header(b"content-length") or b"0") + end + 4 - len(self._head)
        else:
            self._missing -= len(data)
        return self._missing <= 0

    def header(self, name: bytes) -> bytes:
        """A header of the answer, b"" if it has none; its name in lower case."""
        head = bytes(self._head[: self._head.find(b"\r\n\r\n") + 2])
        start = head.lower().find(b"\r\n" + name + b":")
        if start < 0:
            return b""
        start += len(name) + 3
        return head[start : head.find(b"\r\n", start)].strip()

    def finish(self) -> Done:
        """The answer that is complete."""
        status = int(self._head[9:12])
        return Done(self.begun, time.monotonic(), status, self.header(b"x-model-version").decode())


class LoadGenerator:
    """Keeps `concurrency` requests under way at one address."""

    def __init__(self, address: tuple[str, int], requests: Sequence[bytes], concurrency: int) -> None:
        self._address = address
        self._next = cycle(requests)
        self._concurrency = concurrency
        self._poll = selectors.DefaultSelector()
        self._open: set[_Connection] = set()
        #: What was answered so far.
        self.done: list[Done] = []
        self._failed = 0
        #: The version that answered last; may be read from other threads.
        self.latest = ""

    def run(self, enough: Callable[[], bool]) -> Load:
        """Send until `enough()`, wait for the answers that are still due, and hang up."""
        begun, cpu = time.monotonic(), time.thread_time()
        for _ in range(self._concurrency):
            self._connect()
        while not enough():
            self._turn(going_on=True)
        seconds = time.monotonic() - begun
        counted = len(self.done)
        until = time.monotonic() + _SILENCE
        while self._open and time.monotonic() < until:
            self._turn(going_on=False)
        self._failed += len(self._open)
        self._poll.close()
        spent = time.thread_time() - cpu
        late = len(self.done) - counted
        return Load(tuple(self.done[:counted]), seconds, spent, late, self._failed)

    def _connect(self) -> None:
        connection = _Connection(self._address)
        self._open.add(connection)
        self._poll.register(connection.socket, selectors.EVENT_READ, connection)
        self._begin(connection)

    def _begin(self, connection: _Connection) -> None:
        connection.begin(next(self._next))
        self._push(connection)

    def _push(self, connection: _Connection) -> None:
        """Send on; be told when there is room for more only while there is more."""
        wants = selectors.EVENT_READ | (0 if connection.push() else selectors.EVENT_WRITE)
        if self._poll.get_key(connection.socket).events != wants:
            self._poll.modify(connection.socket, wants, connection)

    def _turn(self, going_on: bool) -> None:
        for key, events in self._poll.select(0.05):
            connection: _Connection = key.data
            try:
                self._serve(connection, events, going_on)
            except OSError:
                self._failed += 1
                self._drop(connection)
                if going_on:
                    self._connect()

    def _serve(self, connection: _Connection, events: int, going_on: bool) -> None:
        if events & selectors.EVENT_WRITE:
            self._push(connection)
        if not events & selectors.EVENT_READ or not connection.pull():
            return
        done = connection.finish()
        self.done.append(done)
        self.latest = done.version
        self._failed += done.status != 200
        if going_on:
            self._begin(connection)
        else:
            self._drop(connection)

    def _drop(self, connection: _Connection) -> None:
        self._open.discard(connection)
        self._poll.unregister(connection.socket)
        connection.socket.close()
