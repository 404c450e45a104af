"""The listening socket that the workers share: whose turn a connection is, and taking it."""

from __future__ import annotations

import asyncio
import errno
import logging
import math
import select
import socket
import ssl
from collections.abc import Callable, Mapping
from typing import Any

from workers.connections import OpenConnections
from workers.membership import WorkerSlot, WorkerTable

#: In place of a count: this worker takes no connections, as it starts or ends.
AWAY = 2**62

#: Seconds until a worker looks again at what it has left to another, and how often it does so before it
#: takes it. Looks, not time: on a busy machine both are slow.
PAUSE = 0.001
PATIENCE = 5

#: Taken at once at most, alone and beside others: their counts may be a moment old.
_MOST, _SOME = 64, 4
#: How many waits in vain let one connection more be taken after each, and make the next ones shorter.
_MORE, _SHORTER = 8, 32

#: Seconds between two looks at whether this worker has too many.
_SURPLUS_PERIOD = 0.5


def accepting(counts: Mapping[int, int], own: int) -> dict[int, int]:
    """The other workers' connections by seat, of those that take any."""
    return {seat: count for seat, count in counts.items() if seat != own and count < AWAY}


class Turns:
    """How many of the connections that wait one worker may take now.

    It leaves them to the worker that has the fewest, yet the first of them for no more looks than `PATIENCE`,
    three times that if its own part is far too big: the other may be busy, or hang. As long as that one does
    not move, more and more is taken after each wait, and in the end there is none.
    """

    def __init__(self) -> None:
        self._looks = 0
        self._fewest: tuple[int, int] | None = None
        self._vain = 0

    def allowed(self, mine: int, others: Mapping[int, int]) -> int:
        """How many to take; 0: look again after `PAUSE`. `others` are connections by seat."""
        if not others:
            return _MOST
        count, seat = min((count, seat) for seat, count in others.items())
        if mine <= (most := count + count // 8):
            self._looks = 0
            return min(most + 1 - mine, _SOME)
        if self._fewest != (seat, count):
            self._fewest, self._vain = (seat, count), 0
        self._looks += 1
        if self._looks <= self._patience(mine, count):
            return 0
        self._looks = 0
        self._vain += 1
        return min(1 + self._vain // _MORE, _MOST)

    def _patience(self, mine: int, fewest: int) -> int:
        times = min(3, 1 + (mine - fewest) // (fewest + 8))
        return PATIENCE * times // (1 + self._vain // _SHORTER)

    def nothing_waits(self) -> None:
        """What was left to another has been taken."""
        self._looks = 0


class Surplus:
    """How many connections more than its part one worker has, as after the death of another one.

    Clients keep theirs, and would keep one worker busy and the next one idle. Half of what is too much goes
    at each look, and nothing at the first one: the others may be about to take what waits.
    """

    def __init__(self) -> None:
        self._before = self._left = 0
        self._next = 0.0

    def take(self, now: float, counts: Callable[[], tuple[int, Mapping[int, int]]]) -> bool:
        """Whether one may go now; `counts` are this worker's connections and the others', by seat."""
        if now >= self._next:
            self._next = now + _SURPLUS_PERIOD
            surplus = surplus_of(*counts())
            self._left = -(-surplus // 2) if self._before else 0
            self._before = surplus
        if not self._left:
            return False
        self._left -= 1
        return True


def surplus_of(mine: int, others: Mapping[int, int]) -> int:
    """Connections beyond an even part and an eighth of it, or one."""
    part = (mine + sum(others.values())) / (1 + len(others))
    return max(0, math.ceil(mine - part - max(1.0, part / 8)))


logger = logging.getLogger("bentoml.okawari.listening")

_NO_ROOM = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}
_NO_ROOM_PAUSE = 1.0
#: Seconds that who was connected at the very end has for its request.
_LAST_WORDS = 1.0

Protocols = Callable[[], asyncio.BaseProtocol]


class _Connection(socket.socket):
    """An accepted socket with a callback for its end, however far it came."""

    on_end: Callable[[], None] | None = None

    def close(self) -> None:
        """As the event loop of the standard library ends it."""
        super().close()
        self._tell()

    def detach(self) -> int:
        """As uvloop ends it: it closes the descriptor itself."""
        self._tell()
        return super().detach()

    def _tell(self) -> None:
        on_end, self.on_end = self.on_end, None
        if on_end is not None:
            on_end()


class _Handshake:
    """A connection whose peer has not yet said enough for a protocol to begin."""

    def __init__(self, opening: asyncio.Task[None]) -> None:
        self._opening = opening

    def owed(self) -> str:
        """The same from beginning to end: it is short."""
        return "handshake"

    def give_up(self) -> str:
        """Hang up."""
        self.abort()
        return "handshake"

    def abort(self) -> None:
        """Hang up; the task closes what it was given."""
        self._opening.cancel()


class Listener:
    """The server of one worker; the connections it has open are shared with the others through its seat.

    As much of an event loop's server as is asked of it: `close` and `wait_closed`.
    """

    def __init__(
        self, seat: WorkerSlot, seats: WorkerTable, connections: OpenConnections | None = None
    ) -> None:
        self._seat = seat
        self._seats = seats
        self._connections = connections or OpenConnections()
        self._turns, self._surplus = Turns(), Surplus()
        self._open = 0
        self._opening: set[asyncio.Task[None]] = set()
        self._reading = self._away = self._closed = False
        self._again: asyncio.TimerHandle | None = None
        seat.tell_connections(AWAY)

    def open_on(
        self,
        loop: asyncio.AbstractEventLoop,
        protocols: Protocols,
        listener: socket.socket,
        context: ssl.SSLContext | None,
        backlog: int,
    ) -> None:
        """Take connections from now on."""
        self._loop, self._protocols, self._listener, self._context = loop, protocols, listener, context
        self._backlog = backlog
        listener.setblocking(False)
        listener.listen(backlog)
        self._poll = select.poll()
        self._poll.register(listener, select.POLLIN)
        self._tell()
        self._connections.takes_from_surplus = self._take_from_surplus
        if not self._away:
            self._read()

    # --- whose turn ------------------------------------------------------------------------------

    def _look(self) -> None:
        """Something waits: take it, or leave it to another, or until there is room, for a moment."""
        room = self._connections.room(self._open)
        allowed = min(room, self._turns.allowed(self._open, self._others()))
        if allowed == 0:
            self._wait(PAUSE)
        elif self._take(allowed):
            self._read()
        else:
            self._wait(_NO_ROOM_PAUSE)

    def _others(self) -> dict[int, int]:
        return accepting(self._seats.connections(), self._seat.index)

    def _take_from_surplus(self) -> bool:
        return self._surplus.take(self._loop.time(), lambda: (self._open, self._others()))

    def _wait(self, seconds: float) -> None:
        if self._reading:
            self._reading = False
            self._loop.remove_reader(self._listener.fileno())
        self._again = self._loop.call_later(seconds, self._look_again)

    def _look_again(self) -> None:
        if self._poll.poll(0):
            self._look()
        else:
            self._turns.nothing_waits()
            self._read()

    def _read(self) -> None:
        if not self._reading:
            self._reading = True
            self._loop.add_reader(self._listener.fileno(), self._look)

    # --- connections -----------------------------------------------------------------------------

    def _take(self, most: int) -> bool:
        """Take up to so many that wait; False when this process cannot hold another one."""
        try:
            for _ in range(most):
                self._greet(self._listener.accept()[0])
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            self._turns.nothing_waits()
        except OSError as error:
            logger.error("no connection can be taken for %g s: %s", _NO_ROOM_PAUSE, error)
            return False
        return True

    def _greet(self, accepted: socket.socket) -> None:
        connection = _Connection(accepted.family, accepted.type, accepted.proto, accepted.detach())
        connection.setblocking(False)
        connection.on_end = self._ended
        self._open += 1
        self._tell()
        task = self._loop.create_task(self._connect(connection))
        self._opening.add(task)
        task.add_done_callback(self._opening.discard)
        if self._context is not None:
            handshake = _Handshake(task)
            self._connections.opened(handshake)
            task.add_done_callback(lambda _: self._connections.closed(handshake))

    async def _connect(self, connection: _Connection) -> None:
        try:
            _, protocol = await self._loop.connect_accepted_socket(
                self._protocols, connection, ssl=self._context
            )
        except asyncio.CancelledError:  # by who waited for the handshake
            connection.close()
        except Exception as error:  # noqa: BLE001 - whatever it is, the connection is no more
            # Of the network, or of TLS: the client's doing.
            level = logging.DEBUG if isinstance(error, OSError) else logging.ERROR
            logger.log(level, "a connection was not made: %r", error)
            connection.close()
        else:
            if self._closed:
                self._loop.call_later(_LAST_WORDS, getattr(protocol, "shutdown", lambda: None))

    def _ended(self) -> None:
        self._open -= 1
        self._tell()

    def _tell(self) -> None:
        if not self._away:
            self._seat.tell_connections(self._open)

    # --- the end ---------------------------------------------------------------------------------

    def hand_over(self) -> None:
        """Leave what waits to the other workers."""
        self._away = True
        self._seat.tell_connections(AWAY)
        if self._again is not None:
            self._again.cancel()
        if self._reading:
            self._reading = False
            self._loop.remove_reader(self._listener.fileno())

    def close(self) -> None:
        """Take no more connections; what waits is taken along unless another worker is there for it."""
        if not self._closed:
            self.hand_over()
            self._closed = True
            if not self.heirs():
                self._take(self._backlog)

    def heirs(self) -> set[int]:
        """Seats: who else takes connections, and lives: a heart may have beaten a moment before its end."""
        return set(self._others()) & set(self._seats.living())

    async def wait_closed(self) -> None:
        """Nothing is left to wait for: the connections belong to who asked for them."""


def spread(listening: Listener, loop: asyncio.AbstractEventLoop) -> None:
    """Let `listening` take the place of the next server that `loop` makes of an open socket."""
    original = loop.create_server

    async def create_server(
        protocols: Protocols,
        *place: Any,
        sock: socket.socket | None = None,
        ssl: ssl.SSLContext | None = None,
        backlog: int = 100,
        **options: Any,
    ) -> Listener | asyncio.AbstractServer:
        vars(loop).pop("create_server", None)
        if sock is None or place or options:
            logger.warning("connections are not spread over the workers: a server of an unknown kind")
            return await original(protocols, *place, sock=sock, ssl=ssl, backlog=backlog, **options)
        listening.open_on(loop, protocols, sock, ssl, backlog)
        return listening

    try:
        vars(loop)["create_server"] = create_server
    except TypeError:
        logger.warning("connections are not spread over the workers: %s takes no other server", loop)
