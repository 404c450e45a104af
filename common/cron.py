"""Cron expressions: minute, hour, day of the month, month, day of the week; in UTC."""

from __future__ import annotations

from datetime import UTC, datetime

from cronsim import CronSim, CronSimError


def next_time(expression: str, after: datetime) -> datetime:
    """When a cron expression fits next, in UTC. Raises `ValueError` for one that never does or is none."""
    try:
        return next(CronSim(expression, after.astimezone(UTC)))
    except (CronSimError, StopIteration):
        raise ValueError(
            f"{expression[:80]!r} is no cron expression that ever fits: write minute hour day month weekday, "
            "such as 0 2 * * *"
        ) from None


def checked_schedule(expression: str) -> str:
    """The expression as it is. Raises `ValueError` as `next_time` does."""
    next_time(expression, datetime.now(UTC))
    return expression
