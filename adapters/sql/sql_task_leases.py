"""Which of several services does a task: a row for each task, with its holder and until when."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from sqlalchemy.dialects import postgresql, sqlite

from adapters.sql.database import Database
from adapters.sql.lineage_tables import TASKS


def _now() -> datetime:
    return datetime.now(UTC)


class SqlTaskLeases:
    """`TaskLeases` in SQLite or PostgreSQL; the clocks of the services differ by less than a lease."""

    def __init__(self, database: Database, clock: Callable[[], datetime] = _now) -> None:
        """The database stays the caller's, who closes it."""
        self._database = database
        self._clock = clock

    def hold(self, task: str, holder: str, seconds: float) -> bool:
        """See `RecordStore`. One statement: two at once cannot both have it."""
        now = self._clock()
        until = now + timedelta(seconds=seconds)
        with self._database.writing() as connection:
            kind = postgresql if connection.dialect.name == "postgresql" else sqlite
            row = kind.insert(TASKS).values(task=task, holder=holder, until=until)
            mine_or_over = (TASKS.c.holder == holder) | (TASKS.c.until <= now)
            taken = row.on_conflict_do_update(
                index_elements=[TASKS.c.task], set_={"holder": holder, "until": until}, where=mine_or_over
            )
            return connection.execute(taken.returning(TASKS.c.task)).first() is not None
