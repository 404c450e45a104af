"""What every store of devices promises: SQLite, PostgreSQL, and their twin in memory."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier

import pytest
from sqlalchemy import select, text

from adapters.sql.database import RECORDS, Database
from adapters.sql.lineage_tables import TOKENS
from adapters.sql.sql_devices import SqlDevices
from adapters.sql.sql_records import SqlRecords
from hotswap.errors import BadRequest, Conflict
from lineage.devices import GRACE, DeviceStore, environment_tokens, new_token, token_hash
from tests.support.captures import NOON, a_capture, a_record
from tests.support.databases import POSTGRESQL
from tests.support.devices_memory import DevicesMemory

HOUR = timedelta(hours=1)


@pytest.fixture(params=["memory", "sqlite", POSTGRESQL])
def devices(request: pytest.FixtureRequest) -> Iterator[DeviceStore]:
    if request.param == "memory":
        yield DevicesMemory()
        return
    database = Database(str(request.getfixturevalue(f"{request.param}_place")), RECORDS)
    yield SqlDevices(database)
    database.close()


def _valid(devices: DeviceStore, device_id: str, moment: object) -> set[str]:
    holders = devices.tokens().holders.values()
    return {one.hashed for one in holders if one.device_id == device_id and one.is_valid(moment)}  # type: ignore[arg-type]


def test_a_device_that_was_added_has_one_token(devices: DeviceStore) -> None:
    devices.add("cam-2", None, "h2", NOON)
    devices.add("cam-1", "gate", "h1", NOON)
    first, second = devices.devices(NOON)
    assert (first.device_id, first.name, first.tokens, first.created_at) == ("cam-1", "gate", 1, NOON)
    assert (first.last_seen, first.disabled_at) == (None, None)
    assert (second.device_id, second.name) == ("cam-2", None)
    assert _valid(devices, "cam-1", NOON) == {"h1"}
    with pytest.raises(Conflict):
        devices.add("cam-1", None, "h3", NOON)
    assert _valid(devices, "cam-1", NOON) == {"h1"}


def test_the_token_before_holds_for_the_grace_time(devices: DeviceStore) -> None:
    devices.add("cam-1", None, "h1", NOON)
    assert devices.rotate("cam-1", "h2", NOON, GRACE) == NOON + GRACE
    assert devices.devices(NOON)[0].tokens == 2
    assert _valid(devices, "cam-1", NOON + GRACE - timedelta(seconds=1)) == {"h1", "h2"}
    assert _valid(devices, "cam-1", NOON + GRACE) == {"h2"}
    assert devices.devices(NOON + GRACE)[0].tokens == 1


def test_a_grace_time_is_never_made_longer_by_another_rotation(devices: DeviceStore) -> None:
    devices.add("cam-1", None, "h1", NOON)
    devices.rotate("cam-1", "h2", NOON, HOUR)
    assert devices.rotate("cam-1", "h3", NOON, 24 * HOUR) == NOON + 24 * HOUR
    assert _valid(devices, "cam-1", NOON + HOUR) == {"h2", "h3"}
    assert devices.rotate("cam-1", "h4", NOON, timedelta(0)) == NOON
    assert _valid(devices, "cam-1", NOON) == {"h4"}
    assert devices.rotate("cam-1", "h5", NOON + HOUR, HOUR) == NOON + 2 * HOUR


def test_a_device_whose_tokens_are_over_may_be_added_again(devices: DeviceStore) -> None:
    devices.add("cam-1", "gate", "h1", NOON)
    devices.rotate("cam-1", "h2", NOON, HOUR)
    devices.disable("cam-1", NOON)
    devices.rotate("cam-1", "h3", NOON, timedelta(0))
    with pytest.raises(Conflict):
        devices.add("cam-1", None, "h4", NOON)
    assert devices.devices(NOON)[0].disabled_at == NOON


def test_a_disabled_device_is_listed_as_such_until_it_is_enabled(devices: DeviceStore) -> None:
    devices.add("cam-1", None, "h1", NOON)
    devices.disable("cam-1", NOON)
    assert devices.tokens().disabled == {"cam-1"}
    assert devices.devices(NOON)[0].disabled_at == NOON
    devices.enable("cam-1")
    assert devices.tokens().disabled == frozenset()


def test_what_is_not_known_is_refused(devices: DeviceStore) -> None:
    for ask in (
        lambda: devices.rotate("cam-9", "h", NOON, GRACE),
        lambda: devices.disable("cam-9", NOON),
        lambda: devices.enable("cam-9"),
        lambda: devices.add("../cam", None, "h", NOON),
        lambda: devices.add("c" * 101, None, "h", NOON),
    ):
        with pytest.raises(BadRequest):
            ask()
    assert devices.devices(NOON) == []


def test_when_a_device_was_seen_is_written_once_a_minute(devices: DeviceStore) -> None:
    devices.add("cam-1", None, "h1", NOON)
    seen = []
    for seconds in (0, 59, 60, 30):
        devices.seen({"cam-1": NOON + timedelta(seconds=seconds), "unknown": NOON})
        seen.append(devices.devices(NOON)[0].last_seen)
    assert seen == [NOON, NOON, NOON + timedelta(seconds=60), NOON + timedelta(seconds=60)]
    assert len(devices.devices(NOON)) == 1


def test_a_device_that_handed_in_pictures_may_have_a_token(database_url: str) -> None:
    records = SqlRecords(database_url)
    saved = records.save(a_record())
    devices = SqlDevices(records.database)
    devices.add("cam-1", "gate", "h1", NOON)
    listed = devices.devices(NOON)[0]
    assert (listed.name, listed.tokens, listed.last_seen) == ("gate", 1, saved.uploaded_at)
    records.close()


def test_a_removed_device_has_no_token(database_url: str) -> None:
    database = Database(database_url, RECORDS)
    devices = SqlDevices(database)
    devices.add("cam-1", None, "h1", NOON)
    with database.engine.begin() as connection:
        connection.execute(text("DELETE FROM devices"))
        assert connection.execute(select(TOKENS)).all() == []
    database.close()


@pytest.mark.slow
@pytest.mark.timeout(60)
def test_two_that_add_a_device_at_once_give_it_one_token(database_url: str) -> None:
    """Half of the devices have handed in pictures before."""
    start, records = Barrier(2), SqlRecords(database_url)
    for count in range(0, 40, 2):
        records.save(a_record(a_capture(1, device=f"cam-{count}")))

    def add(number: int) -> list[int]:
        won = []
        for count in range(40):
            start.wait(30)
            try:
                SqlDevices(records.database).add(f"cam-{count}", None, f"h-{count}-{number}", NOON)
            except Conflict:
                continue
            won.append(count)
        return won

    with ThreadPoolExecutor(2) as threads:
        one, two = threads.map(add, (1, 2))
    assert sorted(one + two) == list(range(40))
    records.close()


def test_a_token_is_long_and_only_its_hash_is_kept() -> None:
    tokens = {new_token() for _ in range(100)}
    assert len(tokens) == 100
    assert {len(token) for token in tokens} == {43}
    assert {len(token_hash(token)) for token in tokens} == {64}
    assert token_hash("abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_variables_name_devices() -> None:
    variables = {
        "DEVICE_001_TOKEN": " t1 ",
        "DEVICE_FRONT_DOOR_TOKEN": "t2",
        "DEVICE_002_TOKEN": "",
        "DEVICE__TOKEN": "x",
        "DEVICE_TOKEN": "x",
        "MY_DEVICE_001_TOKEN": "x",
        "DEVICE_a_TOKEN": "x",
    }
    assert environment_tokens(variables) == {"device-001": "t1", "device-front-door": "t2"}
