"""Taking connections from the socket that all workers share: each gets its part of them, and none too many.

An event loop's own server takes whatever waits whenever it wakes: one worker may end up with all, and with
more than it can open files for. This one takes its place, by what event loops promise in public: a
reader on the socket, and `connect_accepted_socket`.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import select
import socket
import ssl
from collections.abc import Callable
from typing import Any

from registry.seats import Seat, Seats
from serving.connections import Connections
from serving.turns import AWAY, PAUSE, Turns, accepting

logger = logging.getLogger("bentoml.okawari.listening")

_NO_ROOM = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}
_NO_ROOM_PAUSE = 1.0
#: Seconds that who was connected at the very end has for its request.
_LAST_WORDS = 1.0

Protocols = Callable[[], asyncio.BaseProtocol]


class _Connection(socket.socket):
    """An accepted socket that tells when it is closed, whoever closes it and however far it came."""

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
        tell, self.on_end = self.on_end, None
        if tell is not None:
            tell()


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


class Listening:
    """The server of one worker; the connections it has open are told to the others through its seat.

    As much of an event loop's server as is asked of it: `close` and `wait_closed`.
    """

    def __init__(self, seat: Seat, seats: Seats, connections: Connections | None = None) -> None:
        self._seat = seat
        self._seats = seats
        self._connections = connections or Connections()
        self._turns = Turns()
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


def spread(listening: Listening, loop: asyncio.AbstractEventLoop) -> None:
    """Let `listening` take the place of the next server that `loop` makes of an open socket."""
    original = loop.create_server

    async def create_server(
        protocols: Protocols,
        *place: Any,
        sock: socket.socket | None = None,
        ssl: ssl.SSLContext | None = None,
        backlog: int = 100,
        **options: Any,
    ) -> Listening | asyncio.AbstractServer:
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
