"""The database's tables brought to a release and back, by the migrations in `migrations/`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection

from adapters.sql.database import Database
from registry.errors import RegistryUnavailable

MIGRATIONS = Path(__file__).parent.parent.parent / "migrations"


@dataclass(frozen=True, slots=True)
class SchemaState:
    """Which migration a database has, and which this release needs; `current` is None before the first."""

    current: str | None
    needed: str

    @property
    def is_current(self) -> bool:
        """Whether the registry can be used."""
        return self.current == self.needed


def upgrade(url: str, revision: str = "head") -> SchemaState:
    """Make or bring up the tables. Raises `RegistryUnavailable`; then nothing was changed."""
    return _migrated(url, revision, command.upgrade)


def downgrade(url: str, revision: str) -> SchemaState:
    """Take migrations back; `base` removes all tables. Raises `RegistryUnavailable`, and changes nothing."""
    return _migrated(url, revision, command.downgrade)


def check(url: str) -> SchemaState:
    """The state of a database's tables. Raises `RegistryUnavailable`."""
    database = Database(url)
    try:
        with database.reading() as connection:
            return _state(connection)
    finally:
        database.close()


def _migrated(url: str, revision: str, migrate: Callable[[Config, str], None]) -> SchemaState:
    database = Database(url)
    try:
        with database.writing() as connection:
            migrate(_config(connection), revision)
            return _state(connection)
    except CommandError as error:
        raise RegistryUnavailable(f"the registry {database.name} cannot be migrated: {error}") from None
    finally:
        database.close()


def _config(connection: Connection) -> Config:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config


def _state(connection: Connection) -> SchemaState:
    needed = ScriptDirectory(str(MIGRATIONS)).get_current_head()
    current = MigrationContext.configure(connection).get_current_revision()
    return SchemaState(current, needed or "")
