"""The record store opened by the URL of its database."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from common.files import locked
from lineage.errors import RecordsUnavailable

if TYPE_CHECKING:
    from adapters.sql.database import PoolSize
    from adapters.sql.sql_records import SqlRecords

#: Seconds that the workers of a service wait for the one that makes the tables.
_WAIT = 60.0


def open_records(
    url: str, pool: PoolSize | None = None, *, create: bool = True, echo: bool = False
) -> SqlRecords:
    """The records behind sqlite:///… or postgresql://….

    With `create` the file of an SQLite database is made, and its tables are brought to this release, also
    when several processes open it at once. The tables of PostgreSQL are made by `okawari db upgrade`; a
    PostgreSQL that is away is noticed when it is asked. Raises `RecordsUnavailable` when the file cannot be
    made or okawari[sql] is not installed, and `BadDatabaseUrl` for another URL.
    """
    if find_spec("sqlalchemy") is None or find_spec("psycopg") is None:
        raise RecordsUnavailable("the records of pictures need more packages: install okawari[sql]")
    from adapters.sql.sql_records import SqlRecords

    records = SqlRecords(url, pool, echo=echo)
    if create:
        _make_tables(url)
    return records


def _make_tables(url: str) -> None:
    """Bring the tables of an SQLite file to this release; those of PostgreSQL stay as they are."""
    from adapters.sql import schema
    from adapters.sql.database import RECORDS

    file = sqlite_file(url)
    if file is None:
        return
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        # A lock of our own: a new file's way of writing is switched outside any transaction.
        with locked(file.with_name(f".{file.name}.lock"), _WAIT):
            if not schema.check(url, RECORDS).is_current:
                schema.upgrade(url, purpose=RECORDS)
    except (OSError, TimeoutError) as error:
        raise RecordsUnavailable(f"the database of the records {file} cannot be made: {error}") from None


def sqlite_file(url: str) -> Path | None:
    """The file of an SQLite database; None for all else: PostgreSQL, one in memory, what is no URL."""
    from sqlalchemy import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        return None
    if parsed.get_backend_name() != "sqlite" or not parsed.database or parsed.database == ":memory:":
        return None
    return Path(parsed.database).absolute()
