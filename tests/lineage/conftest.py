"""Where the records of pictures lie in a test: in memory, in SQLite, in a PostgreSQL that the tests start."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from adapters.sql.sql_records import SqlRecords
from lineage.record_store import ImageRecordStore
from tests.support.databases import (
    POSTGRESQL,
    database_url,
    empty_database,
    postgres,
    postgresql_place,
    postgresql_template,
    sqlite_place,
    sqlite_template,
)
from tests.support.records_memory import RecordsMemory

__all__ = [
    "database_url",
    "empty_database",
    "postgres",
    "postgresql_place",
    "postgresql_template",
    "sqlite_place",
    "sqlite_template",
]


@pytest.fixture(params=["memory", "sqlite", POSTGRESQL])
def again(request: pytest.FixtureRequest) -> Iterator[Callable[[], ImageRecordStore]]:
    """Opens the same records, as another process would; those in memory are always the same."""
    if request.param == "memory":
        memory = RecordsMemory()
        yield lambda: memory
        return
    url = str(request.getfixturevalue(f"{request.param}_place"))
    opened: list[SqlRecords] = []

    def again() -> ImageRecordStore:
        opened.append(SqlRecords(url))
        return opened[-1]

    yield again
    for one in opened:
        one.close()


@pytest.fixture
def records(again: Callable[[], ImageRecordStore]) -> ImageRecordStore:
    """Empty records."""
    return again()
