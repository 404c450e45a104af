"""Sockets that the library opened and shows nobody, as the system lists them: Linux alone does."""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Protocol
from urllib.parse import quote

import grpc
from google.protobuf.message import DecodeError

from api.budget import ByteBudget
from api.errors import BodyTooLarge
from hotswap.errors import BadRequest, DeadlineExceeded, Overloaded

#: Where `tcpi_bytes_received` lies in `struct tcp_info` (linux/tcp.h), of which nothing ever moved.
_BYTES_RECEIVED, _UPTO = struct.Struct("=Q"), 128


def descriptors() -> list[int]:
    """Of this process; none where the system does not list them."""
    with suppress(OSError):
        return [int(name) for name in os.listdir("/proc/self/fd")]  # noqa: PTH208 - numbers, not paths
    return []


@contextmanager
def borrowed(descriptor: int) -> Iterator[socket.socket]:
    """A descriptor of somebody else's as a socket; OSError if it is none."""
    found = socket.socket(fileno=descriptor)
    try:
        yield found
    finally:
        found.detach()


class Connections:
    """Connections to a port of ours, by their callers as the library names them.

    A caller may have the same port of its own connected to another one of ours, such as HTTP's, or to the
    same at another of our addresses, which the name does not tell: those are added up.
    """

    def __init__(self, port: Callable[[], int]) -> None:
        self._port = port
        self._known: dict[str, list[int]] = {}

    def received(self, peers: Iterable[str]) -> dict[str, int]:
        """Bytes that have come from these callers.

        Those whose connection is not found, or does not tell, are left out. Every descriptor of the process
        is looked at (some microseconds each) where one is asked about for the first time, or has gone.
        """
        found = {peer: self._count(peer) for peer in peers}
        new = {peer for peer, count in found.items() if count is None}
        if new:
            self._find(new)
            found |= {peer: self._count(peer) for peer in new}
        return {peer: count for peer, count in found.items() if count is not None}

    def forget(self, peer: str) -> None:
        """Nobody asks about this caller any more."""
        self._known.pop(peer, None)

    def _find(self, peers: set[str]) -> None:
        for peer in peers:
            self._known.pop(peer, None)
        for descriptor in descriptors():
            with suppress(OSError), borrowed(descriptor) as candidate:
                if (peer := self._peer(candidate)) in peers:
                    self._known.setdefault(peer, []).append(descriptor)

    def _count(self, peer: str) -> int | None:
        total = 0
        for descriptor in self._known.get(peer, ()):
            with suppress(OSError), borrowed(descriptor) as candidate:
                if self._peer(candidate) == peer:
                    total += _received(candidate)
                    continue
            return None
        # A caller has sent its preface at least: zero is what a system tells that counts nothing.
        return total or None

    def _peer(self, candidate: socket.socket) -> str:
        return _name(candidate) if _is_tcp(candidate) and candidate.getsockname()[1] == self._port() else ""


def _is_tcp(candidate: socket.socket) -> bool:
    return candidate.type == socket.SOCK_STREAM and candidate.family in (socket.AF_INET, socket.AF_INET6)


def _name(candidate: socket.socket) -> str:
    """A URI; IPv4 as itself on whatever socket it comes, an address of one link by the link's number."""
    host, port, *more = candidate.getpeername()
    host = host.removeprefix("::ffff:") if "." in host else host
    if more and more[1]:
        host = f"{host.partition('%')[0]}%{more[1]}"
    return f"ipv6:{quote(f'[{host}]', safe=':')}:{port}" if ":" in host else f"ipv4:{host}:{port}"


def _received(connection: socket.socket) -> int:
    size = _UPTO + _BYTES_RECEIVED.size
    told = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, size)
    if len(told) < size:
        raise OSError
    return int(_BYTES_RECEIVED.unpack_from(told, _UPTO)[0])


#: Seconds that a place may be kept while others wait for one.
PATIENCE = 5.0
_SAID = "the message arrives slowly and others wait; try again shortly"


@dataclass(eq=False, slots=True)
class _Turn:
    """A place that is taken. `limit` ends its read; `ended` says that others need the place."""

    limit: asyncio.Timeout
    since: float
    ended: bool = False

    @property
    def leaves(self) -> bool:
        """Whether the place is about to be free."""
        return self.ended or self.limit.expired()

    def end(self, now: float) -> None:
        """Let it go; its own task does that in a moment."""
        self.ended = True
        self.limit.reschedule(now)


class ReceiveSlots:
    """So many may read at once; the others wait in their order. `said` is what one is told that must go.

    While somebody waits, the place that was taken first, and longer than `PATIENCE` ago, is taken back.
    """

    def __init__(self, count: int, said: str = _SAID) -> None:
        self._count = count
        self._said = said
        self._free = asyncio.Semaphore(count)
        self._turns: dict[_Turn, None] = {}  # the oldest first
        self._waiting = 0
        self._timer: asyncio.TimerHandle | None = None

    @property
    def taken(self) -> int:
        """How many read."""
        return len(self._turns)

    async def read(self, read: Callable[[], Awaitable[Any]], until: float | None) -> Any:
        """What `read` gives.

        Raises `TimeoutError` when it is `until` by the loop's clock (None: never), waiting or reading, and
        `Overloaded` when the place was needed.
        """
        if self._free.locked():
            async with asyncio.timeout_at(until):
                await self._wait()
        else:
            await self._free.acquire()  # at once
        try:
            return await self._read(read, until)
        finally:
            self._free.release()

    async def _wait(self) -> None:
        self._waiting += 1
        try:
            self._look()
            await self._free.acquire()
        finally:
            self._waiting -= 1

    async def _read(self, read: Callable[[], Awaitable[Any]], until: float | None) -> Any:
        turn = _Turn(asyncio.timeout_at(until), asyncio.get_running_loop().time())
        try:
            async with turn.limit:
                self._turns[turn] = None
                if self._waiting:
                    self._look()
                return await read()
        except TimeoutError:
            if not turn.ended:
                raise
            raise Overloaded(self._said) from None
        finally:
            self._turns.pop(turn, None)

    def _look(self) -> None:
        """Take back what is needed; look again when the next has had its time."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        loop, needed = asyncio.get_running_loop(), self._needed()
        for turn in (each for each in self._turns if not each.leaves):
            if needed <= 0:
                return
            due = turn.since + PATIENCE
            if due > loop.time():
                self._timer = loop.call_at(due, self._look)
                return
            turn.end(loop.time())
            needed -= 1

    def _needed(self) -> int:
        """How many wait for whom no place is free, nor about to be."""
        coming = self._count - len(self._turns) + sum(each.leaves for each in self._turns)
        return self._waiting - coming


#: Seconds between two looks at what has come, while there are so many streams that it may be too much.
LOOK = 0.25
#: What a message takes on its way: its bytes, so much more for frames and TLS, and that for its own head.
_FRAMES, _HEAD = 1.05, 64
#: Bytes that the library takes in of a stream beyond the message that is read.
_AHEAD = 65_536
#: Bytes between two looks that are no message's: pings, of which the library allows one in five minutes.
_PINGS = 1


class Kernel(Protocol):
    """Who knows what came; see `sockets.Connections`."""

    def received(self, peers: Iterable[str]) -> Mapping[str, int]:
        """Bytes by caller, where they are known."""
        ...

    def forget(self, peer: str) -> None:
        """Nobody asks any more."""
        ...


@dataclass(eq=False, slots=True)
class _Connection:
    """`counted`: of the bytes that came, those that are answered for. None: nobody tells of this one."""

    counted: float | None = None
    asked: bool = False
    streams: int = 0
    turns: dict[asyncio.Timeout, bool] = field(default_factory=dict)  # True: it was ended for its bytes

    def waits(self, came: int | None, unknown: float) -> float:
        """Bytes of messages that are not whole yet; `unknown` for each where nobody tells."""
        if not self.asked:
            return 0.0
        if came is None or self.counted is None:
            return unknown * len(self.turns)
        # Where more was answered for than came, it was smaller on its way.
        self.counted = min(self.counted + _PINGS, came)
        # More than its streams can hold was something else: long metadata, or calls that were refused unread.
        self.counted = max(self.counted, came - (unknown + _AHEAD) * len(self.turns))
        return came - self.counted

    def end(self, now: float) -> None:
        """Let every stream go that reads here; their own tasks do that in a moment."""
        for turn in self.turns:
            self.turns[turn] = True
            turn.reschedule(now)


class Streams:
    """Reads the messages of streams; `most` bytes of them may be on their way, each of at most `size`.

    When more are, streams are ended on the connection of which most has come; who is silent is not. Where
    the system does not tell what came, every stream beyond those that would fit is counted as begun.
    """

    def __init__(self, most: int, size: int, kernel: Kernel) -> None:
        self._most = most
        self._size = size
        self._kernel = kernel
        self._connections: dict[str, _Connection] = {}
        self._new: set[str] = set()
        self._finding: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None

    @property
    def taken(self) -> int:
        """How many wait for a message."""
        return sum(len(each.turns) for each in self._connections.values())

    def opened(self, peer: str) -> None:
        """A caller has opened a stream."""
        if peer not in self._connections:
            self._connections[peer] = _Connection()
            self._new.add(peer)
            if self._finding is None:
                self._finding = asyncio.create_task(self._find())
        self._connections[peer].streams += 1

    async def _find(self) -> None:
        """Ask what came before the streams that are new; in a thread, since every descriptor is looked at."""
        try:
            while self._new:
                peers, self._new = self._new, set()
                came = await asyncio.to_thread(self._kernel.received, peers)
                for peer in peers:
                    connection = self._connections.get(peer)
                    if connection is None:
                        self._kernel.forget(peer)  # it has gone meanwhile
                    else:
                        connection.counted, connection.asked = came.get(peer), True
        finally:
            self._finding = None

    def closed(self, peer: str) -> None:
        """A stream has ended."""
        self._connections[peer].streams -= 1
        if not self._connections[peer].streams:
            del self._connections[peer]
            self._kernel.forget(peer)

    def whole(self, peer: str, size: int) -> None:
        """A message of a stream is whole: on a connection that has no other, nothing else is on its way."""
        connection = self._connections[peer]
        if connection.streams == 1 and connection.asked and self._timer is not None:
            connection.counted = self._kernel.received([peer]).get(peer, connection.counted)
        else:
            self._answered_for(connection, size)

    def beside(self, peer: str, size: int, head: Callable[[], int]) -> None:
        """A call that is no stream has sent so much on this connection; `head` tells its metadata's bytes."""
        connection = self._connections.get(peer)
        if connection is not None:
            self._answered_for(connection, size + head())

    @staticmethod
    def _answered_for(connection: _Connection, size: int) -> None:
        if connection.counted is not None:
            connection.counted += size * _FRAMES + _HEAD

    async def read(self, peer: str, read: Callable[[], Awaitable[Any]]) -> Any:
        """What `read` gives; raises `Overloaded` when too much is on its way, and most of it there."""
        turns = self._connections[peer].turns
        limit = asyncio.timeout(None)
        try:
            async with limit:
                turns[limit] = False
                self._look_later()
                return await read()
        except TimeoutError:
            if not turns[limit]:
                raise
            raise Overloaded(
                f"more than {self._most} bytes of messages are on their way; send less at once, and try again"
            ) from None
        finally:
            turns.pop(limit, None)

    def _look_later(self) -> None:
        if self._timer is None and self.taken > self._most // self._size:
            self._timer = asyncio.get_running_loop().call_later(LOOK, self._look)

    def _look(self) -> None:
        """End who has begun too much, and look again as long as there may be too much."""
        self._timer = None
        came = self._kernel.received([peer for peer, each in self._connections.items() if each.asked])
        waits = {
            peer: each.waits(came.get(peer), self._size)
            for peer, each in self._connections.items()
            if each.turns
        }
        total = sum(waits.values())
        for peer in sorted(waits, key=lambda peer: -waits[peer]):
            if total <= self._most:
                break
            total -= waits[peer]
            self._connections[peer].end(asyncio.get_running_loop().time())
        self._look_later()


#: Seconds in which the library tells that a caller has left, after it told of no message.
_LEFT = 0.05
#: Small calls have this part of the places that pictures have, and their messages at most so many bytes: who
#: watches a name keeps it as long as the connection lasts.
_SMALL, MOST_SMALL = 4, 65_536
#: Bytes of HTTP/2 around a metadata's name and value, and of the fields that every call has.
_FIELD, _FIELDS = 32, 512

Decode = Callable[[bytes], Any]


class Reads(Protocol):
    """Where messages come from."""

    def peer(self) -> str:
        """Who sends them, by the library's name for the connection's other end."""
        ...

    def invocation_metadata(self) -> Any:
        """What came before them: names and values."""
        ...

    async def read(self) -> Any:
        """The next message's bytes, or `grpc.aio.EOF`."""
        ...


class HeldBytes:
    """The bytes of one call that count in the store until it ends."""

    def __init__(self, store: ByteBudget) -> None:
        self._store = store
        self._sizes: deque[int] = deque()

    def add(self, size: int) -> None:
        """Hold one message more, or what was made of it; raise `Overloaded`."""
        self._store.add(size)
        self._sizes.append(size)

    def skip(self) -> None:
        """A message came that is not held; its answer lets nothing go."""
        self._sizes.append(0)

    def drop(self) -> None:
        """The message that came first is answered."""
        if self._sizes:
            self._store.remove(self._sizes.popleft())

    def release(self) -> None:
        """The call has ended."""
        while self._sizes:
            self._store.remove(self._sizes.popleft())


@dataclass(frozen=True, slots=True)
class RefusedMessage:
    """What is left of a message that there was no room for: its caller's name for it, and why."""

    name: str
    error: Overloaded


class MessageReceiver:
    """Messages of one server. The library holds a whole message before anybody sees a byte of it.

    So only so many are received at once that they would fit into the store, were they as big as may be; of
    streams, as many as there are while what has come fits. Streams, pictures and small calls take no place
    from one another: who asks for health is heard whatever else arrives.
    """

    def __init__(self, store: ByteBudget, most_bytes: int, kernel: Kernel) -> None:
        self.store = store
        self._most_bytes = most_bytes
        count = max(1, store.capacity // most_bytes)
        self.ones, self.small = ReceiveSlots(count), ReceiveSlots(max(1, count // _SMALL))
        self.streams = Streams(store.capacity, most_bytes, kernel)

    async def one(
        self, call: Reads, held: HeldBytes, decode: Decode, seconds: float, *, small: bool = False
    ) -> Any:
        """The only message of a call.

        Raises `BadRequest`, `BodyTooLarge`, `Overloaded`, and `DeadlineExceeded` after so many seconds.
        """
        places = self.small if small else self.ones
        try:
            raw = await places.read(call.read, asyncio.get_running_loop().time() + seconds)
        except TimeoutError:
            raise DeadlineExceeded("the message did not arrive within the request's time") from None
        if raw is grpc.aio.EOF:
            # Either there is none, or the caller has left and the library is about to cancel this call.
            await asyncio.sleep(_LEFT)
        else:
            self.streams.beside(call.peer(), len(raw), lambda: _head(call))
        return self._decoded(
            raw, held, decode, min(MOST_SMALL, self._most_bytes) if small else self._most_bytes
        )

    @staticmethod
    def _decoded(raw: Any, held: HeldBytes, decode: Decode, most: int) -> Any:
        if not isinstance(raw, bytes):
            raise BadRequest("the call came without a message")
        if len(raw) > most:
            raise BodyTooLarge(f"the message has more than {most} bytes; send less")
        held.add(len(raw))
        return _read(raw, decode)

    def stream(self, call: Reads, held: HeldBytes, decode: Decode) -> Messages:
        """The messages of a call that may send many."""

        def decoded(raw: Any, naming: str | None) -> Any:
            try:
                return self._decoded(raw, held, decode, self._most_bytes)
            except Overloaded as error:
                if naming is None:
                    raise
                held.skip()
                return RefusedMessage(getattr(_read(raw, decode), naming), error)

        return Messages(self.streams, call, decoded)


def _head(call: Reads) -> int:
    """Bytes that a call's metadata took at most, and the fields that every call has."""
    return _FIELDS + sum(len(name) + len(value) + _FIELD for name, value in call.invocation_metadata() or ())


def _read(raw: bytes, decode: Decode) -> Any:
    try:
        return decode(raw)
    except DecodeError:
        raise BadRequest("the bytes are no message of this method's type") from None


class Taken:
    """A call whose caller takes each answer within `seconds`: what is held for it is not held without end."""

    def __init__(self, call: Any, seconds: float) -> None:
        self._call = call
        self._seconds = seconds

    async def write(self, message: Any) -> None:
        """Send the next answer; raises `DeadlineExceeded` where the caller does not take it."""
        try:
            async with asyncio.timeout(self._seconds):
                await self._call.write(message)
        except TimeoutError:
            raise DeadlineExceeded("the answer was not taken within the request's time") from None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._call, name)


class TimedWriter:
    """A call that takes many messages and answers each in its turn: with the answer the message is let go."""

    def __init__(self, call: Any, held: HeldBytes) -> None:
        self._call = call
        self._held = held

    async def write(self, message: Any) -> None:
        """Send the next answer; waits while the caller takes none."""
        await self._call.write(message)
        self._held.drop()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._call, name)


class Messages:
    """The messages of one call, until its caller ends it or `stop` does; `close` it."""

    def __init__(self, streams: Streams, call: Reads, decode: Callable[[Any, str | None], Any]) -> None:
        self._streams = streams
        self._call = call
        self._decode = decode
        self._naming: str | None = None
        self._stopped = asyncio.Event()
        self._peer = call.peer()
        streams.opened(self._peer)

    def lenient(self, naming: str) -> Messages:
        """The same, where a message without room comes as `RefusedMessage`, and the next ones follow.

        `naming` is the field of messages that has the caller's name for each.
        """
        self._naming = naming
        return self

    def close(self) -> None:
        """The call has ended."""
        self._streams.closed(self._peer)

    def stop(self) -> None:
        """Read no more."""
        self._stopped.set()

    def __aiter__(self) -> AsyncIterator[Any]:
        return self

    async def __anext__(self) -> Any:
        """The next message; raises as `MessageReceiver.one`."""
        raw = await self._next()
        if raw is grpc.aio.EOF:
            raise StopAsyncIteration
        self._streams.whole(self._peer, len(raw))
        return self._decode(raw, self._naming)

    async def _next(self) -> Any:
        reading = asyncio.create_task(self._streams.read(self._peer, self._call.read))
        stopping = asyncio.ensure_future(self._stopped.wait())
        try:
            await asyncio.wait({reading, stopping}, return_when=asyncio.FIRST_COMPLETED)
            return await reading if reading.done() else grpc.aio.EOF
        finally:
            reading.cancel()
            stopping.cancel()
            # It raises nothing of theirs, and does not take our own end for theirs.
            await asyncio.wait({reading, stopping})
