"""HTTP/1.1 as the service speaks it: the server's own protocol, made safe where that one is not.

What differs, at the cost of a few counters for an ordinary request:

- An offer to change to another protocol (`Upgrade: h2c`, a websocket) is ignored (RFC 9110, 7.8). The
  parser takes the body for bytes of that protocol; here it is read.
- A malformed request, or one that can be read as two, is refused in our error shape, after the answers to the
  requests before it. Nothing behind it is read.
- What the client owes can be asked, so that silence has an end.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any, Protocol

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from api.context import FAULT
from api.errors import HeadersTooLarge, MalformedRequest, RequestTimeout
from hotswap.errors import ServingError

#: Bytes that may come without being a whole head, or part of a body.
_MOST_IN_VAIN = 65536
_VERSIONS = ("1.1", "1.0")
#: In the place of a request that cannot be read; its answer is the refusal.
_PLACEHOLDER = b"GET / HTTP/1.1\r\nconnection: close\r\n\r\n"

Headers = Sequence[tuple[bytes, bytes]]


class ConnectionWatch(Protocol):
    """Who knows all connections, and how long one may keep the service waiting, in seconds."""

    patience: float

    def opened(self, connection: HttpProtocol, /) -> None:
        """It is open, and has said nothing yet."""
        ...

    def speaks(self, connection: HttpProtocol, /) -> None:
        """A request has come."""
        ...

    def falls_silent(self, connection: HttpProtocol, /) -> None:
        """Every request has its answer."""
        ...

    def closed(self, connection: HttpProtocol, /) -> None:
        """It is no more."""
        ...


class HttpProtocol(HttpToolsProtocol):
    """One connection. What is wrong with a request stands in its scope as `FAULT`, for who answers it."""

    def __init__(self, watch: ConnectionWatch, **given: Any) -> None:
        super().__init__(**given)
        self._watch = watch
        self._progress = 0  # changes with every head, piece of a body, and end of one
        self._drained = 0
        self._in_vain = 0
        self._in_body = self._deaf = False
        self._offered: bytes | None = None
        self._answering: RequestResponseCycle | None = None

    # --- what comes ------------------------------------------------------------------------------

    def connection_made(self, transport: Any) -> None:
        """It is watched from now on."""
        super().connection_made(transport)
        self._watch.opened(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """It is no longer watched; an answer under way ends, also where later requests came behind it."""
        self._watch.closed(self)
        answering = self._answering
        if answering is not None and not answering.response_complete:
            answering.disconnected = True  # the server marks the last request alone
            answering.message_event.set()
        super().connection_lost(exc)

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._answering = cycle
        super()._start_asgi_task(cycle, app)

    def data_received(self, data: bytes) -> None:
        """Read requests; whatever cannot be one is refused."""
        if self._deaf:
            return
        self._unset_keepalive_if_required()
        before = self._progress
        try:
            self._read(data)
        except httptools.HttpParserError as error:
            self._refuse(_fault(error))
        self._in_vain = self._in_vain + len(data) if self._progress == before else 0
        if self._in_vain > _MOST_IN_VAIN and not self._deaf:
            self._refuse(HeadersTooLarge(f"the headers have more than {_MOST_IN_VAIN} bytes; send fewer"))

    def _read(self, data: bytes | memoryview) -> None:
        while True:
            try:
                self.parser.feed_data(data)
                return
            except httptools.HttpParserUpgrade as offer:
                data = memoryview(data)[offer.args[0] :]
                self._decline()

    def on_headers_complete(self) -> None:
        """A request begins. Raises what is wrong with it: the parser then stops."""
        headers = self.headers
        if self.parser.should_upgrade():
            if self.parser.get_method() == b"CONNECT":
                raise MalformedRequest("the service is no proxy: CONNECT is not answered")
            self._offered = _framing(headers)
        super().on_headers_complete()
        self.headers = []  # trailers are none of the request's headers
        self._in_body = True
        self._progress += 1
        self._watch.speaks(self)
        wrong = _wrong(self.scope["http_version"], headers)
        if wrong is not None:
            raise MalformedRequest(wrong)

    def on_body(self, body: bytes) -> None:
        """A piece of the body."""
        self._progress += 1
        super().on_body(body)

    def on_message_complete(self) -> None:
        """The request is whole; not where the parser only believes that another protocol begins."""
        if self._offered is None:
            super().on_message_complete()
            self._in_body = False
            self._progress += 1

    def on_response_complete(self) -> None:
        """Every request that came has its answer, or the next one is begun."""
        super().on_response_complete()
        if self.timeout_keep_alive_task is not None:
            self._watch.falls_silent(self)

    def resume_writing(self) -> None:
        """The client takes its answer."""
        self._drained += 1
        super().resume_writing()

    # --- offers ----------------------------------------------------------------------------------

    def _should_upgrade(self) -> bool:
        """Never: there is nothing here but HTTP."""
        return False

    def _decline(self) -> None:
        """Read the body that the parser has not seen, with another one that is told of its framing alone."""
        framing, self._offered = self._offered or b"", None
        self.parser = _parser(_HeadIsKnown(self))
        self.parser.feed_data(b"POST / HTTP/1.1\r\n" + framing + b"\r\n")

    # --- refusals --------------------------------------------------------------------------------

    def _refuse(self, fault: ServingError) -> None:
        """Answer the request that comes with `fault`, unless it has an answer; then close."""
        self._deaf = True
        if not self._in_body:
            self.parser = _parser(self)
            self.parser.feed_data(_PLACEHOLDER)
            self.cycle.more_body = isinstance(fault, HeadersTooLarge)  # the client still sends
        cycle = self.cycle
        if cycle.response_complete:
            self.transport.close()
            return
        cycle.keep_alive = False
        cycle.scope[FAULT] = fault  # type: ignore[literal-required]
        cycle.message_event.set()

    # --- what the client owes --------------------------------------------------------------------

    def owed(self) -> Hashable | None:
        """As `workers.connections.Connection` has it."""
        unread = self.transport.get_write_buffer_size()
        if unread:
            return ("answer", unread, self._drained)
        if self._deaf or self.timeout_keep_alive_task is not None:  # the server's own timer runs
            return None
        answered = self.cycle is None or self.cycle.response_complete
        if not self._in_body:
            return ("headers", self._progress) if answered else None
        if answered:
            return ("body", None)  # nobody waits for it any more
        if self.flow.read_paused or self.cycle.waiting_for_100_continue:
            return None
        return ("body", self._progress)

    def give_up(self) -> str:
        """Tell the client what has not come, where it is still to be told anything; the name of that."""
        owed: Any = self.owed()
        what = str(owed[0])
        if what == "answer" or owed[1] is None or (what == "headers" and not self._in_vain):
            self.abort()
        else:
            seconds = f"{self._watch.patience:g} s"
            self._refuse(
                RequestTimeout(f"the request's {what} did not come on within {seconds}; send it again")
            )
        return what

    def abort(self) -> None:
        """Close it at once, without a word."""
        self.transport.abort()


class _HeadIsKnown:
    """Callbacks of a parser that begins with a head which has been read already."""

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
    """A parser as the server makes it: what follows on a request that closes the connection is no error."""
    parser = httptools.HttpRequestParser(callbacks)
    parser.set_dangerous_leniencies(lenient_data_after_close=True)
    return parser


def _framing(headers: Headers) -> bytes:
    """The lines that tell where the body ends."""
    told = (b"content-length", b"transfer-encoding")
    return b"".join(b"%b: %b\r\n" % pair for pair in headers if pair[0] in told)


def _wrong(version: str, headers: Headers) -> str | None:
    """What a proxy in front may read in another way than this server, and the parser lets pass."""
    names = [name for name, _ in headers]
    if version not in _VERSIONS:
        return f"the request is of HTTP version {version}; 1.1 and 1.0 are spoken"
    if names.count(b"host") > 1:
        return "the request has more than one Host; send one"
    if b"transfer-encoding" in names:
        codings = [value.strip().lower() for name, value in headers if name == b"transfer-encoding"]
        if version == "1.0":
            return "a request of HTTP version 1.0 has no Transfer-Encoding; send Content-Length"
        if codings != [b"chunked"]:
            told = b", ".join(codings).decode("latin-1")[:100]
            return f"the Transfer-Encoding is {told!r}; only chunked is read"
    return None


def _fault(error: httptools.HttpParserError) -> ServingError:
    """Ours, where a callback raised it; else what the parser says."""
    cause = error.__context__
    if isinstance(cause, ServingError):
        return cause
    said = "its target cannot be read" if cause is not None else str(error)[:200]
    return MalformedRequest(f"the bytes are no HTTP request that can be read: {said}")
