"""One connection, fed piece by piece: what it reads, and what it tells of what its client owes."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
import uvicorn.config
import uvloop
from starlette.types import Message, Receive, Scope, Send
from uvicorn import Config
from uvicorn.server import ServerState

from api.context import FAULT, LAST_ANSWER
from api.http.protocol import HttpProtocol
from tests.e2e.framing import CHUNKED, H2C, INNER, NEXT, chunks, good, head, length
from workers.connections import OpenConnections

BOTH = pytest.mark.parametrize("run", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])


class App:
    """Reads whole bodies, and answers with 204 when it may."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, bytes]] = []
        self.scopes: list[Scope] = []
        self.read, self.may = asyncio.Event(), asyncio.Event()
        self.read.set()
        self.may.set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scopes.append(scope)
        await self.read.wait()
        body = b""
        message: Message = {"more_body": True}
        while message.get("more_body") and FAULT not in scope:
            message = await receive()
            body += message.get("body", b"")
        self.seen.append((scope["path"], body))
        await self.may.wait()
        status = 400 if FAULT in scope else 204
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": b""})


class Line(asyncio.Transport):
    """What a protocol writes."""

    def __init__(self) -> None:
        super().__init__({"peername": ("127.0.0.1", 1), "sockname": ("127.0.0.1", 2)})
        self.written = b""
        self.unread = 0
        self.closed = self.aborted = False

    def write(self, data: Any) -> None:
        self.written += data

    def get_write_buffer_size(self) -> int:
        return self.unread

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.closed = self.aborted = True

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...


class Fed:
    """A protocol on a line of its own; made in an event loop."""

    def __init__(self) -> None:
        self.app, self.line = App(), Line()
        self.watch = OpenConnections()
        config = Config(self.app, lifespan="off", log_config=None, access_log=False)
        state = ServerState()
        self.protocol = HttpProtocol(self.watch, config=config, server_state=state, app_state={})
        self.protocol.connection_made(self.line)

    async def feed(self, *parts: bytes) -> None:
        """Let the parts come, and everything happen that follows from each."""
        for part in parts:
            self.protocol.data_received(part)
            await self.settle()

    async def settle(self) -> None:
        """Let everything happen that needs nobody else."""
        for _ in range(20):
            await asyncio.sleep(0)

    def owed(self) -> Any:
        """The name of what the client owes."""
        owed: Any = self.protocol.owed()
        return owed and owed[0]

    def __enter__(self) -> Fed:
        return self

    def __exit__(self, *_: object) -> None:
        self.protocol._unset_keepalive_if_required()
        self.protocol.connection_lost(None)
        self.app.read.set()
        self.app.may.set()


@pytest.mark.parametrize("raw", list(good()), ids=lambda raw: raw.name)
def test_whatever_its_pieces_a_body_arrives_and_what_follows_is_read(raw: Any) -> None:
    async def main(size: int) -> list[tuple[str, bytes]]:
        whole = raw.head + raw.body + NEXT
        with Fed() as fed:
            await fed.feed(*(whole[at : at + size] for at in range(0, len(whole), size)))
            assert fed.line.written.count(b"HTTP/1.1 204") == 2
            return fed.app.seen

    for size in (1, 7, 50, 10_000):
        (_, body), (path, after) = asyncio.run(main(size))
        assert body == (
            b"" if "no body" in raw.name or "empty b" in raw.name or "empty c" in raw.name else INNER
        )
        assert (path, after) == ("/livez", b"")


@BOTH
def test_trailers_are_no_headers(run: Any) -> None:
    async def main() -> None:
        with Fed() as fed:
            await fed.feed(head(CHUNKED) + chunks(INNER, trailers=b"Authorization: Bearer x\r\n"))
            assert b"authorization" not in dict(fed.app.scopes[0]["headers"])
            assert fed.app.seen == [("/predict", INNER)]

    run(main())


def test_hundreds_of_offers_in_one_piece_are_hundreds_of_requests() -> None:
    async def main() -> None:
        with Fed() as fed:
            await fed.feed((head(H2C, length(3)) + b"abc") * 300)
            for _ in range(100):
                await fed.settle()
            assert fed.app.seen == [("/predict", b"abc")] * 300

    asyncio.run(main())


@pytest.mark.parametrize("framing", [length(4), CHUNKED])
def test_nothing_behind_a_refusal_is_read(framing: bytes) -> None:
    async def main() -> None:
        with Fed() as fed:
            fed.app.may.clear()
            await fed.feed(head(framing) + b"3\r\n")
            assert fed.protocol.give_up() == "body"
            await fed.feed(b"a\r\n\r\n0\r\n\r\n", NEXT)
            assert fed.app.scopes[0][FAULT].code == "request_timeout"
            assert (len(fed.app.scopes), len(fed.protocol.pipeline)) == (1, 0)

    asyncio.run(main())


def test_who_still_sends_headers_hears_why_they_are_not_read() -> None:
    async def main() -> None:
        with Fed() as fed:
            fed.app.may.clear()
            await fed.feed(b"GET / HTTP/1.1\r\nX: " + b"x" * 70_000)
            assert fed.app.scopes[0][FAULT].code == "headers_too_large"
            assert fed.protocol.cycle.more_body  # the answer waits for the rest

    asyncio.run(main())


# --- what is owed ------------------------------------------------------------------------------------


def test_a_client_owes_headers_then_a_body_then_nothing() -> None:
    async def main() -> None:
        with Fed() as fed:
            fed.app.may.clear()
            assert fed.owed() == "headers"
            await fed.feed(head(length(4))[:20])
            assert fed.owed() == "headers"
            await fed.feed(head(length(4))[20:])
            first = fed.protocol.owed()
            assert fed.owed() == "body"
            await fed.feed(b"ab")
            assert fed.owed() == "body"
            assert fed.protocol.owed() != first
            await fed.feed(b"cd")
            assert fed.owed() is None
            fed.app.may.set()
            await fed.settle()
            assert fed.owed() is None  # the server's own timer for kept connections runs
            await fed.feed(b"\r\n")
            assert fed.owed() == "headers"

    asyncio.run(main())


def test_headers_that_drip_are_always_the_same_debt() -> None:
    async def main() -> None:
        with Fed() as fed:
            debts = set()
            for byte in head(length(4))[:-1]:
                await fed.feed(bytes([byte]))
                debts.add(fed.protocol.owed())
            assert len(debts) == 1

    asyncio.run(main())


def test_extensions_that_drip_are_no_part_of_a_body() -> None:
    async def main() -> None:
        with Fed() as fed:
            await fed.feed(head(CHUNKED) + b"1;")
            before = fed.protocol.owed()
            await fed.feed(b"a" * 100, b"b" * 100)
            assert fed.protocol.owed() == before
            await fed.feed(b"c" * 70_000)
            assert fed.app.scopes[0][FAULT].code == "headers_too_large"

    asyncio.run(main())


@pytest.mark.parametrize("paused", [True, False])
def test_a_body_that_the_service_does_not_read_is_not_owed(paused: bool) -> None:
    async def main() -> None:
        with Fed() as fed:
            fed.app.read.clear()
            await fed.feed(head(length(200_000)) + b"x" * (100_000 if paused else 10))
            assert fed.owed() == (None if paused else "body")

    asyncio.run(main())


def test_a_client_that_waits_to_be_asked_for_its_body_owes_nothing() -> None:
    async def main() -> None:
        with Fed() as fed:
            fed.app.read.clear()
            await fed.feed(head(b"Expect: 100-continue\r\n", length(4)))
            assert fed.owed() is None
            fed.app.read.set()
            await fed.settle()
            assert b"100 Continue" in fed.line.written
            assert fed.owed() == "body"

    asyncio.run(main())


def test_an_answer_is_owed_a_reader() -> None:
    async def main() -> None:
        with Fed() as fed:
            await fed.feed(NEXT)
            fed.line.unread = 10
            before = fed.protocol.owed()
            assert fed.owed() == "answer"
            fed.protocol.pause_writing()
            fed.protocol.resume_writing()
            assert fed.protocol.owed() != before  # it took some, and got as much again
            fed.protocol.give_up()
            assert fed.line.aborted

    asyncio.run(main())


# --- who makes room ----------------------------------------------------------------------------------


def test_a_connection_is_silent_when_no_request_is_under_way() -> None:
    async def main() -> None:
        with Fed() as fed:
            fed.watch.limit = 1
            fed.app.may.clear()
            await fed.feed(head(length(4)))
            fed.watch.room(1)
            await fed.feed(b"abcd")
            fed.watch.room(1)
            assert not fed.line.aborted
            fed.app.may.set()
            await fed.settle()
            fed.watch.room(1)
            assert fed.line.aborted

    asyncio.run(main())


# --- how the server comes to speak it ----------------------------------------------------------------


@pytest.fixture
def protocols() -> Iterator[dict[str, Any]]:
    table: dict[str, Any] = vars(uvicorn.config)["HTTP_PROTOCOLS"]
    before = dict(table)
    yield table
    table.update(before)


def test_a_server_that_is_told_nothing_takes_the_protocol_from_the_table(protocols: dict[str, Any]) -> None:
    protocols["auto"] = partial(HttpProtocol, OpenConnections())
    config = Config(App, log_config=None)
    config.load()
    made: Any = config.http_protocol_class
    assert made.func is HttpProtocol


def test_an_answer_under_way_ends_with_its_connection_though_a_refusal_waits_behind_it() -> None:
    async def main() -> None:
        with Fed() as fed:
            fed.app.may.clear()
            await fed.feed(NEXT, b"GARBAGE")
            fed.protocol.connection_lost(ConnectionResetError())
            fed.line.written = b""
            fed.app.may.set()
            await fed.settle()
            assert fed.line.written == b""

    asyncio.run(main())


def test_an_answer_is_the_last_one_where_there_are_too_many_connections_and_no_request_behind_it() -> None:
    async def main(requests: int) -> list[bool]:
        with Fed() as fed:
            fed.watch.takes_from_surplus = lambda: True
            await fed.feed(NEXT * requests, NEXT)
            return [scope[LAST_ANSWER]() for scope in fed.app.scopes]

    assert asyncio.run(main(1)) == [True] * 2
    assert asyncio.run(main(2)) == [False] * 3, "whoever pipelines would have to send a request again"
