"""The rows of all pictures in the order of their paths, for the comparison with the picture store."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Row, Select, exists, func, select

from adapters.sql.database import Database
from adapters.sql.lineage_tables import IMAGES, SESSIONS
from lineage.verify import VerifiedRow


class SqlRowsByPath:
    """`RowsByPath` in SQLite or PostgreSQL, where the column of the paths sorts by bytes."""

    def __init__(self, database: Database) -> None:
        """The database stays the caller's, who closes it."""
        self._database = database

    def count(self) -> int:
        """See `RowsByPath`."""
        with self._database.reading() as connection:
            return connection.execute(select(func.count()).select_from(IMAGES)).scalar_one()

    def rows(self, after: str, limit: int) -> Sequence[VerifiedRow]:
        """See `RowsByPath`."""
        page = _rows().where(IMAGES.c.lakefs_path > after).order_by(IMAGES.c.lakefs_path).limit(limit)
        with self._database.reading() as connection:
            return [_row(row) for row in connection.execute(page)]

    def row(self, path: str) -> VerifiedRow | None:
        """See `RowsByPath`."""
        with self._database.reading() as connection:
            row = connection.execute(_rows().where(IMAGES.c.lakefs_path == path)).first()
        return None if row is None else _row(row)


def _rows() -> Select[Any]:
    has_run = exists().where(SESSIONS.c.image_id == IMAGES.c.id)
    return select(
        IMAGES.c.id,
        IMAGES.c.lakefs_path,
        IMAGES.c.size_bytes,
        IMAGES.c.sha256,
        IMAGES.c.deleted_at.is_not(None).label("is_removed"),
        ((IMAGES.c.processing_status == "completed") & ~has_run).label("is_half"),
    )


def _row(row: Row[Any]) -> VerifiedRow:
    return VerifiedRow(
        image_id=row.id,
        path=row.lakefs_path,
        size=row.size_bytes,
        sha256=row.sha256,
        is_removed=bool(row.is_removed),
        is_half=bool(row.is_half),
    )
