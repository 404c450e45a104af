"""Messages of calls, received within bounds: how many at once, how large, how long, and what they hold."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Protocol

import grpc
from google.protobuf.message import DecodeError

from api.budget import ByteBudget
from api.errors import BodyTooLarge
from hotswap.admission import Admission, Permit
from hotswap.errors import BadRequest, DeadlineExceeded, Overloaded


class ReceiveSlots:
    """Places to receive messages: `count` at once, the others wait in their order.

    A message that has not arrived after `patience` seconds keeps its place until its deadline, if fewer than
    half of the places are kept so, and is refused else: slow senders never have all places.
    """

    def __init__(self, count: int, patience: float = 5.0) -> None:
        self.taken = 0
        self._free = asyncio.Semaphore(count)
        self._most_slow = count // 2
        self._slow: set[asyncio.Timeout] = set()
        self._patience = patience

    async def read(self, read: Callable[[], Awaitable[Any]], until: float | None) -> Any:
        """What `read` gives.

        Raises `TimeoutError` when it is `until` by the loop's clock (None: never), waiting or reading, and
        `Overloaded` when too many are slow.
        """
        async with asyncio.timeout_at(until), self._free:
            self.taken += 1
            limit = asyncio.timeout(None)
            late = asyncio.get_running_loop().call_later(self._patience, self._late, limit)
            try:
                async with limit:
                    return await read()
            except TimeoutError:
                raise Overloaded(
                    f"the message has not arrived within {self._patience:g} s, and {self._most_slow} others "
                    "arrive slowly, as many as may; try again shortly"
                ) from None
            finally:
                late.cancel()
                self._slow.discard(limit)
                self.taken -= 1

    def _late(self, limit: asyncio.Timeout) -> None:
        """Let a slow message stay, or end its read; its own task does that in a moment."""
        if len(self._slow) < self._most_slow:
            self._slow.add(limit)
        else:
            limit.reschedule(asyncio.get_running_loop().time())


#: Seconds within which the library reports that a caller has left, after it reported no message.
_LEFT = 0.05
#: Small calls have this part of the places that pictures have, and their messages at most so many bytes: who
#: watches a name keeps it as long as the connection lasts.
_SMALL, MOST_SMALL = 4, 65_536

Decode = Callable[[bytes], Any]


class Reads(Protocol):
    """Where messages come from."""

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


@dataclass(frozen=True, slots=True)
class MessageLimits:
    """What a server receives. `body` and `stream_message` are the bytes of one message, `streams` how many
    calls that send many messages may be open.
    """

    body: int
    stream_message: int
    streams: int


class MessageReceiver:
    """Messages of one server. The library holds a whole message before anybody sees a byte of it.

    So only so many are received at once that they would fit into the store, were they as big as may be. A
    stream reads for as long as it is open, so for streams their number is bounded, and the size of their
    messages more tightly. Streams, pictures and small calls take no place from one another: who asks for
    health is heard whatever else arrives.
    """

    def __init__(self, store: ByteBudget, limits: MessageLimits) -> None:
        self.store = store
        self._most_bytes = limits.body
        self._most_stream_bytes = min(limits.stream_message, limits.body)
        count = max(1, store.capacity // limits.body)
        self.ones, self.small = ReceiveSlots(count), ReceiveSlots(max(1, count // _SMALL))
        self.streams = Admission(limits.streams)

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
        if not isinstance(raw, bytes):
            raise BadRequest("the call came without a message")
        most = min(MOST_SMALL, self._most_bytes) if small else self._most_bytes
        if len(raw) > most:
            raise BodyTooLarge(f"the message has more than {most} bytes; send less")
        held.add(len(raw))
        return _read(raw, decode)

    def stream(
        self, call: Reads, held: HeldBytes, decode: Decode, count: Callable[[], None] = lambda: None
    ) -> Messages:
        """The messages of a call that may send many; raises `Overloaded` where too many are open.

        `count` is called for each, and raises `Overloaded` where it is one too many.
        """
        if self.streams.full:
            raise Overloaded(
                f"all {self.streams.capacity} streams that may be open are; send pictures by unary calls, or "
                "try again when a stream has ended"
            )

        def decoded(raw: bytes, naming: str | None) -> Any:
            if len(raw) > self._most_stream_bytes:
                raise BodyTooLarge(
                    f"a message of a stream may have {self._most_stream_bytes} bytes and this one has "
                    f"{len(raw)}; send it by a unary call, or raise OKAWARI_MAX_STREAM_MESSAGE_BYTES"
                )
            try:
                count()
                held.add(len(raw))
                return _read(raw, decode)
            except Overloaded as error:
                if naming is None:
                    raise
                held.skip()
                return RefusedMessage(getattr(_read(raw, decode), naming), error)

        return Messages(self.streams.enter(), call, decoded)


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

    def __init__(self, permit: Permit, call: Reads, decode: Callable[[bytes, str | None], Any]) -> None:
        self._permit = permit
        self._call = call
        self._decode = decode
        self._naming: str | None = None
        self._stopped = asyncio.Event()

    def lenient(self, naming: str) -> Messages:
        """The same, where a message without room comes as `RefusedMessage`, and the next ones follow.

        `naming` is the field of messages that has the caller's name for each.
        """
        self._naming = naming
        return self

    def close(self) -> None:
        """The call has ended."""
        self._permit.release()

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
        return self._decode(raw, self._naming)

    async def _next(self) -> Any:
        reading = asyncio.ensure_future(self._call.read())
        stopping = asyncio.ensure_future(self._stopped.wait())
        try:
            await asyncio.wait({reading, stopping}, return_when=asyncio.FIRST_COMPLETED)
            return await reading if reading.done() else grpc.aio.EOF
        finally:
            reading.cancel()
            stopping.cancel()
            # It raises nothing of theirs, and does not take our own end for theirs.
            await asyncio.wait({reading, stopping})
