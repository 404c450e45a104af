"""The connections of one worker: which are silent for too long, and which are closed to make room for others.

One look a second over all of them is the clock: a request costs no timer.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Hashable
from itertools import islice
from typing import Protocol

logger = logging.getLogger("bentoml.okawari.connections")

#: Seconds between two looks.
_PERIOD = 1.0
#: Closed at once at most to make room: what they held is free only a moment later.
_AT_ONCE = 16


class Connection(Protocol):
    """An open connection, of whatever wire."""

    def owed(self) -> Hashable | None:
        """What the peer has to do next; None: nothing. Another value as soon as it did some of it."""
        ...

    def give_up(self) -> str:
        """End it, because the peer did not do it in time; the name of what was owed."""
        ...

    def abort(self) -> None:
        """Close it at once, without a word."""
        ...


class ConnectionObserver(Protocol):
    """Where the figures of connections go."""

    def connections(self, count: int) -> None:
        """So many are open."""
        ...

    def connection_closed(self, reason: str) -> None:
        """One was closed by the service, for what the peer owed, to make `room`, or to `spread` them."""
        ...


class OpenConnections:
    """What is open in this process; used on its event loop.

    `patience`: seconds that a peer may owe the same. `limit`: how many may be open; None: any number.
    """

    def __init__(self, patience: float = 20.0, limit: int | None = None) -> None:
        self.patience = patience
        self.limit = limit
        self._owed: dict[Connection, tuple[Hashable | None, float]] = {}
        self._silent: dict[Connection, None] = {}  # the longest first
        #: Set by what takes them: whether this worker has too many, and one fewer then.
        self.takes_from_surplus: Callable[[], bool] = _never
        self._full = False
        self._observer: ConnectionObserver | None = None
        self._timer: asyncio.TimerHandle | None = None

    # --- called by the connections -----------------------------------------------------------------

    def opened(self, connection: Connection) -> None:
        """It is open, and has said nothing yet."""
        self._owed[connection] = (None, 0.0)
        self._silent[connection] = None

    def speaks(self, connection: Connection) -> None:
        """A request has come: it is not closed to make room."""
        self._silent.pop(connection, None)

    def falls_silent(self, connection: Connection) -> None:
        """Every request has its answer."""
        self._silent[connection] = None

    def closed(self, connection: Connection) -> None:
        """It is no more."""
        self._owed.pop(connection, None)
        self._silent.pop(connection, None)

    def is_one_too_many(self) -> bool:
        """Whether a connection is to end with its next answer, so that its client comes to another worker."""
        if not self.takes_from_surplus():
            return False
        self._count("spread")
        return True

    # --- time ------------------------------------------------------------------------------------

    def start(self, observer: ConnectionObserver) -> None:
        """Look at them from now on, on the running loop."""
        self._observer = observer
        self._look_later(asyncio.get_running_loop())

    def stop(self) -> None:
        """Look no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look_later(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = loop.call_later(min(_PERIOD, self.patience / 4), self._look, loop)

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        self._look_later(loop)
        self.look(loop.time())
        if self._observer is not None:
            self._observer.connections(len(self._owed))

    def look(self, now: float) -> None:
        """Give up who has owed the same for longer than is allowed."""
        for connection, (before, since) in list(self._owed.items()):
            owed = connection.owed()
            if owed is None or owed != before:
                self._owed[connection] = (owed, now)
            elif now - since >= self.patience:
                self._owed[connection] = (None, now)
                self._count(connection.give_up())

    def _count(self, reason: str) -> None:
        if self._observer is not None:
            self._observer.connection_closed(reason)

    # --- room ------------------------------------------------------------------------------------

    def room(self, count: int) -> int:
        """How many more may be opened beside `count`; where that is 0, some are closed for the next time."""
        if self.limit is None:
            return _ANY
        if count < self.limit:
            self._full &= self.limit - count <= self.limit // 8
            return self.limit - count
        for connection in list(islice(self._silent, _AT_ONCE)):
            self._silent.pop(connection)
            connection.abort()
            self._count("room")
        self._tell_full(count)
        return 0

    def _tell_full(self, count: int) -> None:
        if not self._full:
            self._full = True
            logger.warning(
                "%d connections are open, as many as the limit of open files allows (ulimit -n): silent ones "
                "are closed for new ones, and where all are busy new ones wait",
                count,
            )


_ANY = 2**31


def _never() -> bool:
    return False
