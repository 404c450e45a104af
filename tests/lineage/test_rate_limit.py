"""How often a device may ask: in memory, in SQLite and in PostgreSQL, over several services at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import datetime, timedelta
from threading import Barrier

import pytest

from adapters.sql import schema
from adapters.sql.database import RECORDS, Database
from adapters.sql.sql_rates import SqlRateLimit
from hotswap.errors import Overloaded
from lineage.errors import RateExceeded
from lineage.rate_limit import LocalRateLimit, Rate, RateLimit
from tests.support.captures import NOON
from tests.support.databases import POSTGRESQL
from tests.support.postgres import running_server

TWO_A_SECOND = Rate(2, 5)
#: A bucket that a test never sees filled.
SLOW = Rate(1e-5, 50)


class Time:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.passed = 0.0

    def moment(self) -> datetime:
        return NOON + timedelta(seconds=self.passed)

    def monotonic(self) -> float:
        return self.passed


Limit = Callable[..., RateLimit]


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture(params=["memory", "sqlite", POSTGRESQL])
def limit(request: pytest.FixtureRequest, time: Time) -> Iterator[Limit]:
    """Makes the limit of one service; that in memory is the same for all."""
    databases: list[Database] = []

    def made(rate: Rate) -> RateLimit:
        if request.param == "memory":
            return LocalRateLimit(rate, time.monotonic)
        url = str(request.getfixturevalue(f"{request.param}_place"))
        databases.append(Database(url, RECORDS))
        return SqlRateLimit(databases[-1], rate, clock=time.moment, monotonic=time.monotonic)

    yield made
    for database in databases:
        database.close()


def _taken(limit: RateLimit, device: str = "cam-1", pictures: int = 1) -> int:
    """How often the device may ask now."""
    for count in range(100):
        try:
            limit.take(device, pictures)
        except RateExceeded:
            return count
    raise AssertionError("there is no limit")


def test_a_burst_is_allowed_and_then_the_rate(limit: Limit, time: Time) -> None:
    ours = limit(TWO_A_SECOND)
    assert _taken(ours) == 5
    time.passed = 0.4
    assert _taken(ours) == 0
    time.passed = 0.5
    assert _taken(ours) == 1
    time.passed = 2.5
    assert _taken(ours) == 4
    time.passed = 1e6
    assert _taken(ours) == 5, "a long pause gives no more than the burst"


def test_a_refusal_says_when_to_come_back_and_takes_nothing(limit: Limit, time: Time) -> None:
    ours = limit(TWO_A_SECOND)
    ours.take("cam-1", 5)
    for _ in range(3):
        with pytest.raises(Overloaded) as refused:
            ours.take("cam-1", 3)
        assert isinstance(refused.value, RateExceeded)
        assert refused.value.retry_after == pytest.approx(1.5)
    time.passed = 1.5
    ours.take("cam-1", 3)


def test_a_batch_takes_as_much_as_its_pictures_and_never_more_than_a_full_bucket(
    limit: Limit, time: Time
) -> None:
    ours = limit(TWO_A_SECOND)
    ours.take("cam-1", 3)
    assert _taken(ours) == 2
    time.passed = 2.5
    ours.take("cam-1", 50)
    assert _taken(ours) == 0


def test_each_device_has_a_bucket_of_its_own(limit: Limit) -> None:
    ours = limit(TWO_A_SECOND)
    assert [_taken(ours, device) for device in ("cam-1", "cam-2", "cam-1")] == [5, 5, 0]


def test_a_clock_that_was_set_back_fills_nothing(limit: Limit, time: Time) -> None:
    ours = limit(TWO_A_SECOND)
    time.passed = 100
    ours.take("cam-1", 3)
    time.passed = 50
    assert _taken(ours) == 2
    time.passed = 100
    assert _taken(ours) == 0, "the time between was filled already"
    time.passed = 100.5
    assert _taken(ours) == 1


@pytest.mark.slow
@pytest.mark.timeout(60)
def test_services_that_take_at_once_get_as_much_as_one_alone(database_url: str) -> None:
    """Four threads of two services, by the database's own clock."""
    databases = [Database(database_url, RECORDS) for _ in range(2)]
    limits = [SqlRateLimit(database, SLOW) for database in databases]
    start = Barrier(4)

    def take(number: int) -> int:
        start.wait(30)
        taken = 0
        for _ in range(40):
            try:
                limits[number % 2].take("cam-1")
            except RateExceeded:
                continue
            taken += 1
        return taken

    with ThreadPoolExecutor(4) as threads:
        assert sum(threads.map(take, range(4))) == SLOW.burst
    with pytest.raises(RateExceeded) as refused:
        limits[0].take("cam-1")
    assert refused.value.retry_after == pytest.approx(1e5, rel=0.01)
    for database in databases:
        database.close()


@pytest.mark.process
@pytest.mark.timeout(60)
def test_by_its_own_clock_a_database_fills_the_bucket(postgresql_place: str) -> None:
    with closing(Database(postgresql_place, RECORDS)) as database:
        ours = SqlRateLimit(database, Rate(1e6, 1))
        for _ in range(20):
            ours.take("cam-1")


@pytest.mark.process
@pytest.mark.timeout(60)
def test_while_the_database_is_away_each_service_limits_alone(time: Time) -> None:
    with running_server() as server, server.database() as url:
        if not server.is_own:
            pytest.skip("the server of TEST_DATABASE_URL is not ours to stop")
        schema.upgrade(url)
        with closing(Database(url, RECORDS)) as database:
            ours = SqlRateLimit(database, TWO_A_SECOND, clock=time.moment, monotonic=time.monotonic)
            assert _taken(ours) == 5
            server.stop()
            assert _taken(ours) == 5, "a bucket in memory, which is full"
            server.start()
            assert _taken(ours) == 0, "the database is left alone for a while"
            time.passed = 5
            assert _taken(ours) == 5


@pytest.mark.parametrize(("per_second", "burst"), [(0, 5), (-1, 5), (1, 0.5), (float("nan"), 5)])
def test_a_rate_that_lets_nothing_pass_is_refused(per_second: float, burst: float) -> None:
    with pytest.raises(ValueError, match="must be"):
        Rate(per_second, burst)


def test_buckets_in_memory_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lineage.rate_limit._MOST_BUCKETS", 3)
    ours = LocalRateLimit(TWO_A_SECOND)
    for number in range(10):
        ours.take(f"cam-{number}")
    assert len(ours._buckets) == 3
