"""Hints of PostgreSQL that the registry has changed; who misses one finds the change by polling."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import cast

import psycopg
from sqlalchemy import Connection, text
from sqlalchemy.exc import SQLAlchemyError

from adapters.sql.database import Database

_CHANNEL = "okawari_registry"
#: Seconds until a lost connection is made again, and between two looks whether to stop.
_RETRY = 5.0
_LOOK_UP = 1.0


def give_hint(connection: Connection) -> None:
    """Notify all listeners when this transaction commits; SQLite has no way to."""
    if connection.dialect.name == "postgresql":
        connection.execute(text(f"NOTIFY {_CHANNEL}"))


class ChangeHints:
    """Calls `wake` whenever some service has changed the registry; a thread with a connection of its own."""

    def __init__(self, url: str, wake: Callable[[], None], retry: float = _RETRY) -> None:
        self._database = Database(url)
        self._wake = wake
        self._retry = retry
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="okawari-hints", daemon=True)

    def start(self) -> None:
        """Begin to listen; a database that is away is tried again."""
        self._thread.start()

    def stop(self, seconds: float) -> None:
        """End the thread, or leave it to the end of the process after so many seconds."""
        self._stopping.set()
        self._thread.join(seconds)

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self._listen()
            except (SQLAlchemyError, psycopg.Error):
                self._stopping.wait(self._retry)  # `RegisteredModels` reports it, if it is not this alone
        self._database.close()

    def _listen(self) -> None:
        pooled = self._database.engine.raw_connection()
        connection = cast("psycopg.Connection", pooled.driver_connection)
        pooled.detach()
        with connection:
            connection.autocommit = True
            connection.execute(f"LISTEN {_CHANNEL}")
            self._wake()  # there was no listener until now
            while not self._stopping.is_set():
                for _ in connection.notifies(timeout=_LOOK_UP, stop_after=1):
                    self._wake()
