"""Databases for tests, as fixtures: empty SQLite files, and a PostgreSQL server that the tests start."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from adapters.sql import schema
from tests.support.postgres import PostgresServer, running_server

POSTGRESQL = pytest.param("postgresql", marks=pytest.mark.process)


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A server for all tests of this process."""
    with running_server() as server:
        yield server


@pytest.fixture(params=["sqlite", POSTGRESQL])
def empty_database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of a database without tables."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/registry.db"
    else:
        with request.getfixturevalue("postgres").database() as url:
            yield url


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An SQLite file with its tables, to be copied: the migrations run once for all tests of this process."""
    path = tmp_path_factory.mktemp("sqlite") / "template.db"
    schema.upgrade(f"sqlite:///{path}")
    return path


@pytest.fixture
def sqlite_place(sqlite_template: Path, tmp_path: Path) -> str:
    """The URL of an SQLite database with its tables."""
    return f"sqlite:///{shutil.copyfile(sqlite_template, tmp_path / 'registry.db')}"


@pytest.fixture(scope="session")
def postgresql_template(postgres: PostgresServer) -> Iterator[str]:
    """The URL of a PostgreSQL database with its tables, to be copied; nobody stays connected to it."""
    with postgres.database() as url:
        schema.upgrade(url)
        yield url


@pytest.fixture
def postgresql_place(postgres: PostgresServer, postgresql_template: str) -> Iterator[str]:
    """The URL of a PostgreSQL database with its tables."""
    with postgres.database(postgresql_template) as url:
        yield url


@pytest.fixture(params=["sqlite", POSTGRESQL])
def database_url(request: pytest.FixtureRequest) -> str:
    """The URL of a database with its tables."""
    return str(request.getfixturevalue(f"{request.param}_place"))
