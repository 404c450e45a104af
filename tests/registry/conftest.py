"""Where the registry's records lie in a test: in a file, in SQLite, in a PostgreSQL that the tests start."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from adapters.registries import open_registry
from registry.model_registry import ModelRegistry
from tests.support.databases import (
    POSTGRESQL,
    empty_database,
    postgres,
    postgresql_place,
    postgresql_template,
    sqlite_place,
    sqlite_template,
)

__all__ = [
    "empty_database",
    "postgres",
    "postgresql_place",
    "postgresql_template",
    "sqlite_place",
    "sqlite_template",
]


@pytest.fixture(params=["file", "sqlite", POSTGRESQL])
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
