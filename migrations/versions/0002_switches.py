"""The recorded switches: which version answered when, in which service."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Make the table; it may run while services of the release before use the database."""
    op.create_table(
        "registry_switches",
        sa.Column("service", sa.String(100), primary_key=True),
        sa.Column("model_name", sa.String(63), primary_key=True),
        sa.Column("number", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("version", sa.String(63)),
        sa.Column("digest", sa.String(200)),
        sa.Column("time", sa.DateTime(timezone=True), nullable=False),
    )
    op.create_index("registry_switches_time", "registry_switches", ["model_name", "time"])


def downgrade() -> None:
    """Remove the recorded switches; versions, aliases and history stay."""
    op.drop_table("registry_switches")
