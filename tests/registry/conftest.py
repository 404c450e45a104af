"""Where the registry's records lie in a test: in a file, in SQLite, in a PostgreSQL that the tests start."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from adapters.registries import open_registry
from adapters.sql import schema
from registry.model_registry import ModelRegistry
from tests.support.postgres import PostgresServer, running_server

_POSTGRESQL = pytest.param("postgresql", marks=pytest.mark.process)


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A server for all tests of this process."""
    with running_server() as server:
        yield server


@pytest.fixture(params=["sqlite", _POSTGRESQL])
def empty_database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of a database without tables."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/registry.db"
    else:
        with request.getfixturevalue("postgres").database() as url:
            yield url


@pytest.fixture(params=["file", "sqlite", _POSTGRESQL])
def where(request: pytest.FixtureRequest) -> str:
    """Path or URL of an empty registry."""
    return str(request.getfixturevalue(f"{request.param}_place"))


@pytest.fixture
def registry(where: str) -> Iterator[ModelRegistry]:
    """An empty registry."""
    opened = open_registry(where)
    yield opened
    opened.close()


@pytest.fixture
def file_place(tmp_path: Path) -> str:
    """The path of a registry file."""
    return str(tmp_path / "models" / "registry.json")


@pytest.fixture
def sqlite_place(tmp_path: Path) -> str:
    """The URL of an SQLite database with its tables."""
    url = f"sqlite:///{tmp_path}/registry.db"
    schema.upgrade(url)
    return url


@pytest.fixture
def postgresql_place(postgres: PostgresServer) -> Iterator[str]:
    """The URL of a PostgreSQL database with its tables."""
    with postgres.database() as url:
        schema.upgrade(url)
        yield url
