"""The databases that hold many records: SQLite, and a PostgreSQL that the tests start."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from adapters.sql import schema
from adapters.sql.database import RECORDS, Database
from tests.support.pictures_memory import MemoryPictures
from tests.support.postgres import PostgresServer, running_server

_POSTGRESQL = pytest.param("postgresql", marks=pytest.mark.process)


@pytest.fixture(scope="session")
def records_server() -> Iterator[PostgresServer]:
    """A server for all tests of this process."""
    with running_server() as server:
        yield server


@pytest.fixture(params=["sqlite", _POSTGRESQL])
def records_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of a database with the tables of this release."""
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path}/records.db"
        schema.upgrade(url)
        yield url
        return
    with request.getfixturevalue("records_server").database() as url:
        schema.upgrade(url)
        yield url


@pytest.fixture
def database(records_url: str) -> Iterator[Database]:
    """The database at that URL."""
    with closing(Database(records_url, RECORDS)) as opened:
        yield opened


@pytest.fixture
def pictures() -> MemoryPictures:
    """An empty picture store."""
    return MemoryPictures()
