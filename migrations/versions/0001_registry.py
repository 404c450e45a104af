"""The registry: versions, aliases, and the history of their changes."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make the tables; the first change will have the number 1."""
    revisions = op.create_table(
        "registry_revision",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("number", sa.BigInteger, nullable=False),
        sa.CheckConstraint("id = 1", name="registry_revision_one_row"),
    )
    op.bulk_insert(revisions, [{"id": 1, "number": 0}])
    _versions()
    _aliases()
    _changes()


def _versions() -> None:
    op.create_table(
        "registry_versions",
        sa.Column("model_name", sa.String(63), primary_key=True),
        sa.Column("version", sa.String(63), primary_key=True),
        sa.Column("path", sa.String(1024), nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("creation_timestamp", sa.DateTime(timezone=True), nullable=False),
        sa.Column("description", sa.Text, nullable=False),
        sa.Column("metrics", sa.JSON, nullable=False),
        sa.Column("tags", sa.JSON, nullable=False),
        sa.Column("digest", sa.String(200)),
        sa.CheckConstraint(
            "status IN ('staging', 'production', 'archived', 'rejected')", name="registry_versions_status"
        ),
    )
    op.create_index(
        "registry_versions_production",
        "registry_versions",
        ["model_name"],
        unique=True,
        sqlite_where=sa.text("status = 'production'"),
        postgresql_where=sa.text("status = 'production'"),
    )


def _aliases() -> None:
    op.create_table(
        "registry_aliases",
        sa.Column("model_name", sa.String(63), primary_key=True),
        sa.Column("alias", sa.String(63), primary_key=True),
        sa.Column("version", sa.String(63), nullable=False),
        sa.ForeignKeyConstraint(
            ["model_name", "version"],
            ["registry_versions.model_name", "registry_versions.version"],
            name="registry_aliases_version",
        ),
    )


def _changes() -> None:
    op.create_table(
        "registry_changes",
        sa.Column("number", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("time", sa.DateTime(timezone=True), nullable=False),
        sa.Column("action", sa.String(32), nullable=False),
        sa.Column("model_name", sa.String(63), nullable=False),
        sa.Column("version", sa.String(63)),
        sa.Column("actor", sa.String(200), nullable=False),
        sa.Column("reason", sa.String(500)),
        sa.Column("alias", sa.String(63)),
        sa.Column("before", sa.String(63)),
        sa.Column("after", sa.String(63)),
        sa.Column("before_digest", sa.String(200)),
        sa.Column("after_digest", sa.String(200)),
        sa.Column("was", sa.String(16)),
        sa.Column("status", sa.String(16)),
        sa.Column("undoes", sa.BigInteger),
    )
    op.create_index("registry_changes_model", "registry_changes", ["model_name", "number"])


def downgrade() -> None:
    """Remove the tables with all that they hold."""
    for table in ("registry_changes", "registry_aliases", "registry_versions", "registry_revision"):
        op.drop_table(table)
