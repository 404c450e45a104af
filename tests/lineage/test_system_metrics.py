"""System metrics: once an interval, by one service, whatever happens to the others and to single figures."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select

from adapters.sql.lineage_tables import METRICS
from adapters.sql.sql_records import SqlRecords
from lineage.errors import RecordsUnavailable
from lineage.system_metrics import Figure, MetricSampler
from tests.support.captures import NOON
from tests.support.records_memory import RecordsMemory


class Time:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.passed = 0.0

    def __call__(self) -> datetime:
        return NOON + timedelta(seconds=self.passed)


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def records(time: Time) -> RecordsMemory:
    return RecordsMemory(time)


def _broken() -> float:
    raise OSError("no such disk")


FIGURES: Mapping[str, Figure] = {
    "storage_used_bytes": lambda: 5e9,
    "outbox_length": lambda: 0,
    "absent": lambda: None,
    "endless": lambda: float("inf"),
    "broken": _broken,
}


def test_each_figure_that_can_be_had_has_a_row(records: RecordsMemory, time: Time) -> None:
    assert MetricSampler(records, FIGURES, "a", clock=time).sample()
    labels = {"service": "a"}
    assert records.metrics == [
        (NOON, "storage_used_bytes", 5e9, labels),
        (NOON, "outbox_length", 0, labels),
    ]


def test_one_service_samples_and_another_takes_over_when_it_is_gone(
    records: RecordsMemory, time: Time
) -> None:
    one, other = (MetricSampler(records, FIGURES, name, 60, clock=time) for name in ("a", "b"))
    for passed in (0, 60, 120):
        time.passed = passed
        assert (one.sample(), other.sample()) == (True, False)
    for passed, took in ((180, False), (240, False), (300, True)):
        time.passed = passed
        assert other.sample() is took
    assert one.sample() is False
    assert {(moment, labels["service"]) for moment, _, _, labels in records.metrics} == {
        *((NOON + timedelta(seconds=seconds), "a") for seconds in (0, 60, 120)),
        (NOON + timedelta(seconds=300), "b"),
    }


def test_the_thread_samples_at_once_and_gives_the_task_back(records: RecordsMemory, time: Time) -> None:
    asked = threading.Event()
    figures: dict[str, Figure] = {"queue": lambda: float(asked.set() is None)}
    sampler = MetricSampler(records, figures, "a", 3600, clock=time)
    sampler.start()
    assert asked.wait(20)
    sampler.stop(20)
    assert [one[1] for one in records.metrics] == ["queue"]
    assert MetricSampler(records, figures, "b", clock=time).sample(), "at once, not after the lease"
    assert not any(thread.name == "okawari-metrics" for thread in threading.enumerate())


class AwayAtFirst(RecordsMemory):
    """Cannot be used until a test says so."""

    is_away = True

    def note_metrics(self, moment: datetime, values: Mapping[str, tuple[float, Mapping[str, Any]]]) -> None:
        if self.is_away:
            raise RecordsUnavailable("away")
        super().note_metrics(moment, values)


def test_a_database_that_is_away_is_logged_once_and_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    records = AwayAtFirst()
    sampler = MetricSampler(records, {"queue": lambda: 1}, "a")
    with caplog.at_level(logging.WARNING, "bentoml.okawari.lineage"):
        for _ in range(3):
            sampler._attempt()
        assert len(caplog.records) == 1
        records.is_away = False
        for _ in range(2):
            sampler._attempt()
    assert [record.levelname for record in caplog.records] == ["WARNING"] * 2
    assert len(records.metrics) == 2


def test_rows_in_a_database(database_url: str) -> None:
    records = SqlRecords(database_url)
    assert MetricSampler(records, FIGURES, "a").sample()
    assert not MetricSampler(records, FIGURES, "b").sample()
    with records.database.reading() as connection:
        rows = connection.execute(select(METRICS).order_by(METRICS.c.id)).all()
    assert [(row.metric_name, row.metric_value) for row in rows] == [
        ("storage_used_bytes", pytest.approx(5e9)),
        ("outbox_length", 0),
    ]
    records.close()
