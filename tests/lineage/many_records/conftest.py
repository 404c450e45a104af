"""Databases that hold many records, and a picture store beside them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from adapters.sql.database import Database
from adapters.sql.sql_records import SqlRecords
from tests.support.pictures_memory import MemoryPictures


@pytest.fixture
def records(database_url: str) -> Iterator[SqlRecords]:
    """Empty records in SQLite and in PostgreSQL."""
    opened = SqlRecords(database_url)
    yield opened
    opened.close()


@pytest.fixture
def database(records: SqlRecords) -> Database:
    """Their database."""
    return records.database


@pytest.fixture
def is_sqlite(database_url: str) -> bool:
    """Whether it is SQLite."""
    return database_url.startswith("sqlite")


@pytest.fixture
def pictures() -> MemoryPictures:
    """An empty picture store."""
    return MemoryPictures()
