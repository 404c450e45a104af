"""When clean-ups run: by the clock, on demand, and not again and again where nothing may go."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone

import pytest

from common.cron import next_time
from lineage.cleanup import CleanupReport
from lineage.cleanup_schedule import CleanupSchedule
from lineage.errors import RecordsUnavailable
from lineage.retention import Reason

NOON = datetime(2026, 11, 29, 12, tzinfo=UTC)


class Cleaner:
    """Removes so many pictures each time; None: another service cleans."""

    def __init__(self) -> None:
        self.removes: int | None = 1
        self.is_away = False
        self.runs = 0

    def run(self, stopped: Callable[[], bool] = lambda: False) -> CleanupReport | None:
        self.runs += 1
        if self.is_away:
            raise RecordsUnavailable("away")
        if self.removes is None:
            return None
        report = CleanupReport()
        for _ in range(self.removes):
            report.reasons[Reason.AGE].add(10)
        return report


class Scheduled:
    """A schedule with a clock that a test moves."""

    def __init__(self, expression: str = "0 2 * * *") -> None:
        self.now = NOON
        self.cleaner = Cleaner()
        self.schedule = CleanupSchedule(self.cleaner, expression, lambda: self.now)

    def after(self, **passed: float) -> int:
        """How many runs there were, after so much more time and a tick."""
        self.now += timedelta(**passed)
        self.schedule.tick()
        return self.cleaner.runs


@pytest.mark.parametrize(
    ("expression", "next_one"),
    [
        ("0 2 * * *", datetime(2026, 11, 30, 2, tzinfo=UTC)),
        ("30 12 * * *", datetime(2026, 11, 29, 12, 30, tzinfo=UTC)),
        ("0 */6 * * 1-5", datetime(2026, 11, 30, 0, tzinfo=UTC)),
    ],
)
def test_the_next_time(expression: str, next_one: datetime) -> None:
    assert next_time(expression, NOON) == next_one
    assert next_time(expression, NOON.astimezone(timezone(timedelta(hours=9)))) == next_one


@pytest.mark.parametrize("expression", ["", "daily", "0 25 * * *", "0 2 * *", "0 0 31 2 *"])
def test_what_is_no_expression_is_refused(expression: str) -> None:
    with pytest.raises(ValueError, match="cron expression"):
        next_time(expression, NOON)


def test_by_the_clock_once_each_time() -> None:
    scheduled = Scheduled()
    assert scheduled.after(hours=13, minutes=59) == 0
    assert scheduled.after(minutes=1) == 1
    assert scheduled.after(minutes=1) == 1
    assert scheduled.schedule.due == datetime(2026, 12, 1, 2, tzinfo=UTC)
    assert scheduled.after(hours=24) == 2


def test_many_missed_times_are_one() -> None:
    scheduled = Scheduled()
    assert scheduled.after(days=30) == 1
    assert scheduled.after(minutes=1) == 1


def test_on_demand_at_the_next_tick() -> None:
    scheduled = Scheduled()
    scheduled.schedule.ask()
    scheduled.schedule.ask()
    assert scheduled.after() == 1
    assert scheduled.after() == 1


def test_one_that_fails_is_tried_again_at_the_next_tick() -> None:
    scheduled = Scheduled()
    scheduled.cleaner.is_away = True
    for runs in (1, 2):
        with pytest.raises(RecordsUnavailable):
            scheduled.after(hours=14)
        assert scheduled.cleaner.runs == runs
    scheduled.cleaner.is_away = False
    assert scheduled.after(minutes=1) == 3
    assert scheduled.after(minutes=1) == 3


def test_on_demand_not_again_at_once_where_nothing_could_go() -> None:
    scheduled = Scheduled()
    scheduled.cleaner.removes = 0
    scheduled.schedule.ask()
    assert scheduled.after() == 1
    scheduled.schedule.ask()
    assert scheduled.after(minutes=9) == 1
    scheduled.schedule.ask()
    assert scheduled.after(minutes=1) == 2


def test_by_the_clock_even_then() -> None:
    scheduled = Scheduled("*/5 * * * *")
    scheduled.cleaner.removes = 0
    assert [scheduled.after(minutes=5) for _ in range(3)] == [1, 2, 3]


def test_after_a_stop_nothing_runs() -> None:
    scheduled = Scheduled()
    scheduled.schedule.stop()
    assert scheduled.schedule.is_stopped
    assert scheduled.after(days=2) == 0
