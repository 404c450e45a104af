"""HTTP/1.1: uvicorn's protocol with stricter parsing.

The differences, at the cost of a few counters per request:

- An offer to change the protocol (`Upgrade: h2c`, a websocket) is ignored (RFC 9110, 7.8). httptools
  treats the body as bytes of the new protocol; here it is read as the body.
- A malformed or ambiguous request is refused in our error shape, after the answers to earlier requests.
  The rest of the connection is not read.
- The connection reports what it is waiting for, so that a silent client can be timed out.
- Where this worker has many more connections than the others, some end with an answer that says so.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any, Protocol

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from api.context import FAULT, LAST_ANSWER, PEER
from api.errors import HeadersTooLarge, MalformedRequest, RequestTimeout
from hotswap.errors import ServingError

#: Bytes that may arrive without completing a head or a piece of a body.
_MAX_UNPARSED = 65536
_VERSIONS = ("1.1", "1.0")
#: Stands in for a malformed request; its answer is the error.
_PLACEHOLDER = b"GET / HTTP/1.1\r\nconnection: close\r\n\r\n"

Headers = Sequence[tuple[bytes, bytes]]


class ConnectionWatch(Protocol):
    """Watches all connections; `patience` is how long one may stay silent, in seconds."""

    patience: float

    def opened(self, connection: HttpProtocol, /) -> None:
        """The connection is open, without a request yet."""
        ...

    def speaks(self, connection: HttpProtocol, /) -> None:
        """A request has begun."""
        ...

    def falls_silent(self, connection: HttpProtocol, /) -> None:
        """Every request is answered."""
        ...

    def closed(self, connection: HttpProtocol, /) -> None:
        """The connection is closed."""
        ...

    def is_one_too_many(self) -> bool:
        """Whether a connection is to end with its next answer, so that its client comes to another worker."""
        ...


class HttpProtocol(HttpToolsProtocol):
    """One connection. The fault of a malformed request is put into its scope as `FAULT`."""

    def __init__(self, watch: ConnectionWatch, **options: Any) -> None:
        super().__init__(**options)
        self._watch = watch
        self._progress = 0  # counts heads, pieces of bodies and ends of bodies
        self._drained = 0
        self._unparsed = 0
        self._in_body = self._deaf = self._pipelines = False
        self._offered: bytes | None = None
        self._answering: RequestResponseCycle | None = None

    # --- incoming bytes --------------------------------------------------------------------------

    def connection_made(self, transport: Any) -> None:
        """Start watching the connection."""
        super().connection_made(transport)
        self._watch.opened(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop watching; end the answer in progress, even if later requests are pipelined behind it."""
        self._watch.closed(self)
        answering = self._answering
        if answering is not None and not answering.response_complete:
            answering.disconnected = True  # uvicorn marks the last request only
            answering.message_event.set()
        super().connection_lost(exc)

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._answering = cycle
        super()._start_asgi_task(cycle, app)

    def data_received(self, data: bytes) -> None:
        """Parse requests; refuse malformed ones."""
        if self._deaf:
            return
        self._unset_keepalive_if_required()
        before = self._progress
        try:
            self._read(data)
        except httptools.HttpParserError as error:
            self._refuse(_fault(error))
        self._unparsed = self._unparsed + len(data) if self._progress == before else 0
        if self._unparsed > _MAX_UNPARSED and not self._deaf:
            self._refuse(HeadersTooLarge(f"the headers have more than {_MAX_UNPARSED} bytes; send fewer"))

    def _read(self, data: bytes | memoryview) -> None:
        while True:
            try:
                self.parser.feed_data(data)
                return
            except httptools.HttpParserUpgrade as offer:
                data = memoryview(data)[offer.args[0] :]
                self._decline()

    def on_headers_complete(self) -> None:
        """The head of a request is complete. Raises its fault, which stops the parser."""
        headers = self.headers
        if self.parser.should_upgrade():
            if self.parser.get_method() == b"CONNECT":
                raise MalformedRequest("CONNECT is not supported: the service is not a proxy")
            self._offered = _framing(headers)
        # uvicorn exchanges the client for what a proxy on this machine forwards.
        self.scope[PEER] = self.client[0] if self.client else None  # type: ignore[literal-required]
        self.scope[LAST_ANSWER] = self._is_last_answer  # type: ignore[literal-required]
        super().on_headers_complete()
        self._pipelines |= bool(self.pipeline)
        self.headers = []  # trailers are not request headers
        self._in_body = True
        self._progress += 1
        self._watch.speaks(self)
        problem = _problem(self.scope["http_version"], headers)
        if problem is not None:
            raise MalformedRequest(problem)

    def on_body(self, body: bytes) -> None:
        """A piece of the body arrived."""
        self._progress += 1
        super().on_body(body)

    def on_message_complete(self) -> None:
        """The request is complete, unless the parser only expects another protocol now."""
        if self._offered is None:
            super().on_message_complete()
            self._in_body = False
            self._progress += 1

    def _is_last_answer(self) -> bool:
        # A client that sends its next request before it has this answer would have to send that one again.
        return not self._pipelines and self._watch.is_one_too_many()

    def on_response_complete(self) -> None:
        """A response is complete; without a pipelined request the connection is idle now."""
        super().on_response_complete()
        if self.timeout_keep_alive_task is not None:
            self._watch.falls_silent(self)

    def resume_writing(self) -> None:
        """The client reads its answer."""
        self._drained += 1
        super().resume_writing()

    # --- offers ----------------------------------------------------------------------------------

    def _should_upgrade(self) -> bool:
        """Never: only HTTP is supported."""
        return False

    def _decline(self) -> None:
        """Parse the body, which the parser skipped, with a new parser that gets only the framing headers."""
        framing, self._offered = self._offered or b"", None
        self.parser = _parser(_BodyCallbacks(self))
        self.parser.feed_data(b"POST / HTTP/1.1\r\n" + framing + b"\r\n")

    # --- faults ----------------------------------------------------------------------------------

    def _refuse(self, fault: ServingError) -> None:
        """Answer the current request with `fault`, unless it is answered already; then close."""
        self._deaf = True
        if not self._in_body:
            self.parser = _parser(self)
            self.parser.feed_data(_PLACEHOLDER)
            self.cycle.more_body = isinstance(fault, HeadersTooLarge)  # the client is still sending
        cycle = self.cycle
        if cycle.response_complete:
            self.transport.close()
            return
        cycle.keep_alive = False
        cycle.scope[FAULT] = fault  # type: ignore[literal-required]
        cycle.message_event.set()

    # --- silent clients --------------------------------------------------------------------------

    def owed(self) -> Hashable | None:
        """See `workers.connections.Connection.owed`."""
        unread = self.transport.get_write_buffer_size()
        if unread:
            return ("answer", unread, self._drained)
        if self._deaf or self.timeout_keep_alive_task is not None:  # uvicorn's own timer runs
            return None
        answered = self.cycle is None or self.cycle.response_complete
        if not self._in_body:
            return ("headers", self._progress) if answered else None
        if answered:
            return ("body", None)  # the answer is sent: the rest is not needed
        if self.flow.read_paused or self.cycle.waiting_for_100_continue:
            return None
        return ("body", self._progress)

    def give_up(self) -> str:
        """Answer 408 where the client still expects an answer, else abort; return what is overdue."""
        owed: Any = self.owed()
        overdue = str(owed[0])
        if overdue == "answer" or owed[1] is None or (overdue == "headers" and not self._unparsed):
            self.abort()
        else:
            seconds = f"{self._watch.patience:g} s"
            self._refuse(
                RequestTimeout(f"no progress of the request's {overdue} within {seconds}; send it again")
            )
        return overdue

    def abort(self) -> None:
        """Close the connection at once."""
        self.transport.abort()


class _BodyCallbacks:
    """Callbacks of a parser whose first head has already been handled."""

    def __init__(self, protocol: HttpProtocol) -> None:
        self._protocol = protocol
        self._known = True
        self.on_body = protocol.on_body
        self.on_message_complete = protocol.on_message_complete

    def on_message_begin(self) -> None:
        if not self._known:
            self._protocol.on_message_begin()

    def on_url(self, url: bytes) -> None:
        if not self._known:
            self._protocol.on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._known:
            self._protocol.on_header(name, value)

    def on_headers_complete(self) -> None:
        if self._known:
            self._known = False
        else:
            self._protocol.on_headers_complete()


def _parser(callbacks: Any) -> httptools.HttpRequestParser:
    """A parser configured like uvicorn's: data after the last request of a connection is not an error."""
    parser = httptools.HttpRequestParser(callbacks)
    parser.set_dangerous_leniencies(lenient_data_after_close=True)
    return parser


def _framing(headers: Headers) -> bytes:
    """The header lines that define the end of the body."""
    names = (b"content-length", b"transfer-encoding")
    return b"".join(b"%b: %b\r\n" % pair for pair in headers if pair[0] in names)


def _problem(version: str, headers: Headers) -> str | None:
    """An ambiguity that the parser accepts, but that a proxy in front may read differently."""
    names = [name for name, _ in headers]
    if version not in _VERSIONS:
        return f"HTTP version {version} is not supported; use 1.1 or 1.0"
    if names.count(b"host") > 1:
        return "the request has more than one Host header; send one"
    if b"transfer-encoding" in names:
        codings = [value.strip().lower() for name, value in headers if name == b"transfer-encoding"]
        if version == "1.0":
            return "Transfer-Encoding is not allowed in HTTP/1.0; send Content-Length"
        if codings != [b"chunked"]:
            value = b", ".join(codings).decode("latin-1")[:100]
            return f"Transfer-Encoding {value!r} is not supported; only chunked is"
    return None


def _fault(error: httptools.HttpParserError) -> ServingError:
    """The error of our callback, or else the parser's as a `MalformedRequest`."""
    cause = error.__context__
    if isinstance(cause, ServingError):
        return cause
    problem = "its target is malformed" if cause is not None else str(error)[:200]
    return MalformedRequest(f"the bytes are not a valid HTTP request: {problem}")
