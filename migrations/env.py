"""What Alembic runs: the migrations, in the connection and transaction that `adapters.sql.schema` opened."""

from __future__ import annotations

from alembic import context

from adapters.sql import lineage_tables  # noqa: F401 - its tables
from adapters.sql.tables import METADATA

context.configure(connection=context.config.attributes["connection"], target_metadata=METADATA)
with context.begin_transaction():
    context.run_migrations()
