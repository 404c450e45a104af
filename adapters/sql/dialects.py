"""Where SQLite and PostgreSQL differ: inserting what may be there, the time, seconds between times."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Table, func, literal, text
from sqlalchemy.dialects import postgresql, sqlite

from adapters.sql.tables import UtcTime

Clock = Callable[[], datetime]


def is_postgresql(connection: Connection) -> bool:
    """Whether this is PostgreSQL, not SQLite."""
    return connection.dialect.name == "postgresql"


def insertion(connection: Connection, table: Table) -> postgresql.Insert | sqlite.Insert:
    """An INSERT that can say what to do ON CONFLICT."""
    return postgresql.insert(table) if is_postgresql(connection) else sqlite.insert(table)


def database_time(connection: Connection, clock: Clock | None = None) -> ColumnElement[datetime]:
    """The moment, by the one clock that all services of a database share; with `clock` by that one."""
    if clock is None and is_postgresql(connection):
        return func.clock_timestamp(type_=UtcTime)
    return literal(clock() if clock else datetime.now(UTC), UtcTime)


def seconds_between(
    connection: Connection, earlier: ColumnElement[Any], later: ColumnElement[Any]
) -> ColumnElement[float]:
    """Seconds from one time to another, to the millisecond."""
    if is_postgresql(connection):
        return func.date_part("epoch", later - earlier)
    days: ColumnElement[float] = func.julianday(later) - func.julianday(earlier)
    return days * 86_400.0


def larger(connection: Connection, one: Any, other: Any) -> ColumnElement[Any]:
    """The larger of two values."""
    return func.greatest(one, other) if is_postgresql(connection) else func.max(one, other)


def smaller(connection: Connection, one: Any, other: Any) -> ColumnElement[Any]:
    """The smaller of two values."""
    return func.least(one, other) if is_postgresql(connection) else func.min(one, other)


def allow_seconds(connection: Connection, seconds: float) -> None:
    """Let the statements of this transaction take longer: they read much, and nobody waits for them."""
    if is_postgresql(connection):
        connection.execute(text(f"SET LOCAL statement_timeout = {round(seconds * 1000)}"))
