"""The rate limit of each device over all services of one database: one statement takes from its bucket."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from sqlalchemy import ColumnElement, Connection, literal, select

from adapters.sql.database import Database
from adapters.sql.dialects import Clock, database_time, insertion, larger, seconds_between, smaller
from adapters.sql.lineage_tables import RATES
from lineage.errors import RecordsUnavailable
from lineage.rate_limit import LocalRateLimit, Rate

#: After a failure the database is left alone for so many seconds: no request waits for it.
_PAUSE = 5.0


class SqlRateLimit:
    """A `RateLimit` that holds over all services; while the database is away, over this process alone."""

    def __init__(
        self,
        database: Database,
        rate: Rate,
        *,
        clock: Clock | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Without `clock` the moment is the database's own. `database` stays its opener's."""
        self._database = database
        self._rate = rate
        self._clock = clock
        self._monotonic = monotonic
        self._local = LocalRateLimit(rate, monotonic)
        self._paused_until = 0.0

    def take(self, device_id: str, pictures: int = 1) -> None:
        """See `RateLimit`. Waits for the database, so call it in a thread."""
        if self._monotonic() < self._paused_until:
            return self._local.take(device_id, pictures)
        cost = self._rate.cost(pictures)
        try:
            with self._database.writing() as connection:
                left = self._take(connection, device_id, cost)
        except RecordsUnavailable:
            self._paused_until = self._monotonic() + _PAUSE
            return self._local.take(device_id, pictures)
        if left is not None:
            raise self._rate.refused(device_id, left, cost)
        return None

    def _take(self, connection: Connection, device_id: str, cost: float) -> float | None:
        """Take from a bucket; what it has instead, where that is too little."""
        now, burst = database_time(connection, self._clock), self._rate.burst
        taking = insertion(connection, RATES).values(
            device_id=device_id, tokens=burst - cost, refilled_at=now
        )
        # The moment as it stands in the row that was to be inserted: one for all that is computed here.
        moment = taking.excluded.refilled_at
        taking = taking.on_conflict_do_update(
            index_elements=[RATES.c.device_id],
            set_={
                "tokens": self._tokens(connection, moment) - literal(cost),
                "refilled_at": larger(connection, RATES.c.refilled_at, moment),
            },
            where=self._tokens(connection, moment) >= literal(cost),
        )
        if connection.execute(taking.returning(RATES.c.tokens)).first() is not None:
            return None
        query = select(self._tokens(connection, now)).where(RATES.c.device_id == device_id)
        return float(connection.execute(query).scalar_one())

    def _tokens(self, connection: Connection, moment: ColumnElement[Any]) -> ColumnElement[Any]:
        """What the bucket has at a moment; a clock that was set back fills nothing."""
        passed = larger(connection, seconds_between(connection, RATES.c.refilled_at, moment), literal(0.0))
        filled = RATES.c.tokens + passed * literal(self._rate.per_second)
        return smaller(connection, filled, literal(self._rate.burst))
