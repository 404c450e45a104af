"""The tables of the model registry, as `migrations/` make them."""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy import (
    JSON,
    BigInteger,
    CheckConstraint,
    Column,
    DateTime,
    Dialect,
    ForeignKeyConstraint,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    text,
)


class UtcTime(TypeDecorator[datetime]):
    """A time in UTC. SQLite keeps no zone, and text that sorts."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        """Aware to what the database keeps."""
        return value.astimezone(UTC) if value is not None else None

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        """What the database keeps to aware."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


METADATA = MetaData()
_STATUSES = "status IN ('staging', 'production', 'archived', 'rejected')"

#: One row. `number` is that of the last change; who changes something locks it first.
REVISION = Table(
    "registry_revision",
    METADATA,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("number", BigInteger, nullable=False),
    CheckConstraint("id = 1", name="registry_revision_one_row"),
)

VERSIONS = Table(
    "registry_versions",
    METADATA,
    Column("model_name", String(63), primary_key=True),
    Column("version", String(63), primary_key=True),
    Column("path", String(1024), nullable=False),
    Column("status", String(16), nullable=False),
    Column("creation_timestamp", UtcTime, nullable=False),
    Column("description", Text, nullable=False),
    Column("metrics", JSON, nullable=False),
    Column("tags", JSON, nullable=False),
    Column("digest", String(200)),
    CheckConstraint(_STATUSES, name="registry_versions_status"),
    # At most one production version a model, whatever a program does; and what `pointers` reads.
    Index(
        "registry_versions_production",
        "model_name",
        unique=True,
        sqlite_where=text("status = 'production'"),
        postgresql_where=text("status = 'production'"),
    ),
)

ALIASES = Table(
    "registry_aliases",
    METADATA,
    Column("model_name", String(63), primary_key=True),
    Column("alias", String(63), primary_key=True),
    Column("version", String(63), nullable=False),
    ForeignKeyConstraint(
        ["model_name", "version"],
        ["registry_versions.model_name", "registry_versions.version"],
        name="registry_aliases_version",
    ),
)

CHANGES = Table(
    "registry_changes",
    METADATA,
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("time", UtcTime, nullable=False),
    Column("action", String(32), nullable=False),
    Column("model_name", String(63), nullable=False),
    Column("version", String(63)),
    Column("actor", String(200), nullable=False),
    Column("reason", String(500)),
    Column("alias", String(63)),
    Column("before", String(63)),
    Column("after", String(63)),
    Column("before_digest", String(200)),
    Column("after_digest", String(200)),
    Column("was", String(16)),
    Column("status", String(16)),
    Column("undoes", BigInteger),
    Index("registry_changes_model", "model_name", "number"),
)

SWITCHES = Table(
    "registry_switches",
    METADATA,
    Column("service", String(100), primary_key=True),
    Column("model_name", String(63), primary_key=True),
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("version", String(63)),
    Column("digest", String(200)),
    Column("time", UtcTime, nullable=False),
    Index("registry_switches_time", "model_name", "time"),
)

#: The audit log. A record is its canonical JSON; triggers refuse every UPDATE and DELETE.
AUDIT = Table(
    "audit_records",
    METADATA,
    Column("position", BigInteger, primary_key=True, autoincrement=False),
    Column("source", Text, unique=True),
    Column("record", Text, nullable=False),
)
