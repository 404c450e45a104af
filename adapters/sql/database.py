"""Connections to SQLite and PostgreSQL: short timeouts, one kind of error, no password in any text."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError

from adapters.sql.writer_turns import turns_of
from hotswap.errors import StateUnavailable
from lineage.errors import BadDatabaseUrl, RecordsUnavailable
from registry.errors import BadRegistryUrl, RegistryUnavailable

#: Seconds until a database that does not answer is given up, and milliseconds for one statement or lock.
_CONNECT_SECONDS = 3
_STATEMENT_MS = 5_000
_LOCK_MS = 3_000
_POOL_SIZE = 2
#: Pages that each connection to SQLite keeps, in KiB; those of all are in the system's cache once.
_CACHE_KIB = 256
#: Prepared statements that each keeps: one that names many ids is another for each number of them.
_STATEMENTS = 16
#: Marks the connections whose transactions write: SQLite locks those at their beginning.
_WRITES = "writes"
#: PostgreSQL's codes for a table or a column that is not there.
_NO_TABLE = ("42P01", "42703")


@dataclass(frozen=True, slots=True)
class Purpose:
    """What a database is for: its name in messages, the URLs it may have, and its errors."""

    noun: str
    allowed: str
    unavailable: type[StateUnavailable]
    bad_url: type[StateUnavailable]


REGISTRY = Purpose(
    "the registry",
    "allowed are sqlite:///…, postgresql://… and the path of a file: set OKAWARI_REGISTRY",
    RegistryUnavailable,
    BadRegistryUrl,
)
RECORDS = Purpose(
    "the database of the records",
    "allowed are sqlite:///… and postgresql://…: set OKAWARI_DATABASE",
    RecordsUnavailable,
    BadDatabaseUrl,
)


@dataclass(frozen=True, slots=True)
class PoolSize:
    """How many connections stay open, and how many more may be opened for a while."""

    size: int = _POOL_SIZE
    overflow: int = 10


_USUAL = PoolSize()


class Database:
    """A pool of connections to the database at a URL; it is opened when it is first used."""

    def __init__(
        self,
        url: str,
        purpose: Purpose = REGISTRY,
        pool: PoolSize = _USUAL,
        *,
        echo: bool = False,
        durable: bool = True,
    ) -> None:
        """With `echo` each statement is logged. Without `durable` a loss of power may take the last changes.

        Raises `purpose.bad_url` for a URL that is neither sqlite:///… nor postgresql://….
        """
        self._purpose = purpose
        self._url = _checked(url, purpose)
        self._file: tuple[int, int] | None = None
        self._turns = turns_of(self._url.database) if self._is_sqlite else None
        self.engine = (_sqlite if self._is_sqlite else _postgresql)(self._url, pool, echo, durable)

    @property
    def name(self) -> str:
        """The URL without password and query, for people."""
        return self._url.set(drivername=self._url.get_backend_name(), query={}).render_as_string(True)

    @property
    def _is_sqlite(self) -> bool:
        return self._url.get_backend_name() == "sqlite"

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A transaction that sees one state. Raises `purpose.unavailable`."""
        self._check_file()
        with self.explained(), self.engine.begin() as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A transaction that commits unless an exception leaves it. Raises `purpose.unavailable`."""
        self._check_file()
        with self.explained(), self._turn(), self.engine.connect() as connection:
            marked = connection.execution_options(**{_WRITES: True})
            with marked.begin():
                yield marked

    def _check_file(self) -> None:
        """Raise `purpose.unavailable` when the file of an SQLite database was removed: its connections would
        write on into what nobody can read. Connections to one that was exchanged are made anew."""
        file = self._url.database if self._is_sqlite else None
        if not file or file == ":memory:":
            return
        try:
            status = Path(file).stat()
        except OSError:
            if self._file is None:
                return  # it is made when it is first used
            problem = f"{self._purpose.noun} {self.name} is gone: put the file back, or restart the service"
            raise self._purpose.unavailable(problem) from None
        found = (status.st_dev, status.st_ino)
        if self._file not in (None, found):
            self.engine.dispose()
        self._file = found

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """Wait for the other writers of an SQLite file. Raises `purpose.unavailable`."""
        if self._turns is None:
            yield
            return
        with ExitStack() as held:
            try:
                held.enter_context(self._turns.turn(_STATEMENT_MS / 1000))
            except TimeoutError:
                problem = f"{self._purpose.noun} {self.name} is busy; retry shortly"
                raise self._purpose.unavailable(problem) from None
            yield

    @contextmanager
    def explained(self) -> Iterator[None]:
        """What the database refuses becomes `purpose.unavailable`, with its reason in one line."""
        try:
            yield
        except SQLAlchemyError as error:
            problem = f"{self._purpose.noun} {self.name} {self._problem(error)}"
            raise self._purpose.unavailable(problem) from None

    def _problem(self, error: SQLAlchemyError) -> str:
        reason = str(error.orig if isinstance(error, DBAPIError) else error)
        if getattr(getattr(error, "orig", None), "sqlstate", None) in _NO_TABLE or "no such table" in reason:
            return "lacks the tables of this release: run okawari db upgrade"
        line = reason.strip().partition("\n")[0]
        for secret in _secrets(self._url):
            line = line.replace(secret, "***")
        return f"cannot be used: {line[:300]}"

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()


def _checked(url: str, purpose: Purpose) -> URL:
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        raise purpose.bad_url(f"the URL of {purpose.noun} cannot be read; {purpose.allowed}") from None
    backend = parsed.get_backend_name()
    if backend == "sqlite":
        return parsed.set(drivername="sqlite+pysqlite")
    if backend in ("postgresql", "postgres"):
        return parsed.set(drivername="postgresql+psycopg")
    raise purpose.bad_url(f"{backend[:40]!r} is not supported as {purpose.noun}; {purpose.allowed}")


def _secrets(url: URL) -> list[str]:
    """What of a URL must not be shown, the longest first: its password, and the values of its query."""
    query = (value for values in url.normalized_query.values() for value in values)
    return sorted({secret for secret in (url.password, *query) if secret}, key=len, reverse=True)


def _postgresql(url: URL, pool: PoolSize, echo: bool, durable: bool) -> Engine:
    """With timeouts by which a database that is away is noticed within seconds."""
    arguments = {"connect_timeout": _CONNECT_SECONDS, "tcp_user_timeout": _STATEMENT_MS}
    engine = create_engine(
        url,
        pool_pre_ping=True,
        pool_size=pool.size,
        max_overflow=pool.overflow,
        pool_timeout=_CONNECT_SECONDS,
        echo=echo,
        connect_args={key: value for key, value in arguments.items() if key not in url.query},
        isolation_level="READ COMMITTED",
        hide_parameters=True,
    )

    @event.listens_for(engine, "connect")
    def bound(connection: Any, _: object) -> None:
        # By statements, not by startup options, which poolers such as PgBouncer refuse.
        with connection.cursor() as cursor:
            cursor.execute(f"SET statement_timeout = {_STATEMENT_MS}")
            cursor.execute(f"SET lock_timeout = {_LOCK_MS}")
            cursor.execute("SET TIME ZONE 'UTC'")
            if not durable:
                cursor.execute("SET synchronous_commit = off")
        connection.commit()

    return engine


def _sqlite(url: URL, pool: PoolSize, echo: bool, durable: bool) -> Engine:
    """With a log beside the file, so that readers wait for no writer, and BEGIN as we say it."""
    engine = create_engine(
        url,
        connect_args={"timeout": _STATEMENT_MS / 1000, "cached_statements": _STATEMENTS},
        pool_size=pool.size,
        max_overflow=pool.overflow,
        pool_use_lifo=True,  # what is used often is few, whose pages are cached already
        echo=echo,
        hide_parameters=True,
    )

    @event.listens_for(engine, "connect")
    def prepare(connection: Any, _: object) -> None:
        # A text that is no UTF-8 was not written by us; who reads it says so.
        connection.text_factory = lambda data: data.decode(errors="replace")
        connection.isolation_level = None  # the driver's own BEGIN comes too late to lock
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        writes = connection.get_execution_options().get(_WRITES)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine
