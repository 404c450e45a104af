"""The database's tables brought to a release and back, by the migrations in `migrations/`."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection

from adapters.sql.database import REGISTRY, Database, Purpose
from adapters.sql.dialects import is_postgresql
from adapters.sql.reader_role import hide_tokens

MIGRATIONS = Path(__file__).parent.parent.parent / "migrations"


@dataclass(frozen=True, slots=True)
class SchemaState:
    """Which migration a database has, and which this release needs; `current` is None before the first."""

    current: str | None
    needed: str

    @property
    def is_current(self) -> bool:
        """Whether the tables can be used."""
        return self.current == self.needed


def upgrade(url: str, revision: str = "head", purpose: Purpose = REGISTRY) -> SchemaState:
    """Make or bring up the tables. Raises `purpose.unavailable`; then nothing was changed."""
    return _migrated(url, revision, purpose, command.upgrade)


def downgrade(url: str, revision: str, purpose: Purpose = REGISTRY) -> SchemaState:
    """Take migrations back; `base` removes all tables. Raises `purpose.unavailable`, and changes nothing."""
    return _migrated(url, revision, purpose, command.downgrade)


def check(url: str, purpose: Purpose = REGISTRY) -> SchemaState:
    """The state of a database's tables. Raises `purpose.unavailable`."""
    with closing(Database(url, purpose)) as database, database.reading() as connection:
        return _state(connection)


def _migrated(
    url: str, revision: str, purpose: Purpose, migrate: Callable[[Config, str], None]
) -> SchemaState:
    with closing(Database(url, purpose)) as database:
        try:
            with database.writing() as connection:
                migrate(_config(connection), revision)
                if is_postgresql(connection):
                    hide_tokens(connection)
                return _state(connection)
        except CommandError as error:
            problem = f"{purpose.noun} {database.name} cannot be migrated: {error}"
            raise purpose.unavailable(problem) from None


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
