"""Receiving messages within limits: in time, in bytes, and in how many may be on their way at once."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any, Protocol

import grpc
from google.protobuf.message import DecodeError

from api.body import Store
from api.errors import BodyTooLarge
from api.rpc.places import Places
from api.rpc.streams import Kernel, Streams
from hotswap.errors import BadRequest, DeadlineExceeded, Overloaded

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


class Held:
    """The bytes of one call that count in the store until it ends."""

    def __init__(self, store: Store) -> None:
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
class Unheld:
    """What is left of a message that there was no room for: its caller's name for it, and why."""

    name: str
    error: Overloaded


class Receiving:
    """Messages of one server. The library holds a whole message before anybody sees a byte of it.

    So only so many are received at once that they would fit into the store, were they as big as may be; of
    streams, as many as there are while what has come fits. Streams, pictures and small calls take no place
    from one another: who asks for health is heard whatever else arrives.
    """

    def __init__(self, store: Store, most_bytes: int, kernel: Kernel) -> None:
        self.store = store
        self._most_bytes = most_bytes
        count = max(1, store.capacity // most_bytes)
        self.ones, self.small = Places(count), Places(max(1, count // _SMALL))
        self.streams = Streams(store.capacity, most_bytes, kernel)

    async def one(
        self, call: Reads, held: Held, decode: Decode, seconds: float, *, small: bool = False
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
    def _decoded(raw: Any, held: Held, decode: Decode, most: int) -> Any:
        if not isinstance(raw, bytes):
            raise BadRequest("the call came without a message")
        if len(raw) > most:
            raise BodyTooLarge(f"the message has more than {most} bytes; send less")
        held.add(len(raw))
        return _read(raw, decode)

    def stream(self, call: Reads, held: Held, decode: Decode) -> Messages:
        """The messages of a call that may send many."""

        def decoded(raw: Any, naming: str | None) -> Any:
            try:
                return self._decoded(raw, held, decode, self._most_bytes)
            except Overloaded as error:
                if naming is None:
                    raise
                held.skip()
                return Unheld(getattr(_read(raw, decode), naming), error)

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


class Answering:
    """A call that takes many messages and answers each in its turn: with the answer the message is let go."""

    def __init__(self, call: Any, held: Held) -> None:
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
        """The same, where a message that there is no room for comes as `Unheld`, and the next ones follow.

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
        """The next message; raises as `Receiving.one`."""
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
