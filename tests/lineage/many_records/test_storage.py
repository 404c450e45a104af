"""The storage of a service: over the limit its thread makes room, and acceptance goes on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from time import monotonic, sleep

import pytest

from adapters.sql.sql_records import SqlRecords
from adapters.sql.sql_retention import SqlRetention
from lineage.errors import StorageFull
from lineage.retention import RetentionRules
from lineage.storage import Storage
from lineage.storage_limit import DiskSpace
from tests.support.archive import Picture, fill, stored
from tests.support.pictures_memory import MemoryPictures

RULES = RetentionRules(days=None, most_bytes=1000, warning_bytes=850)


@pytest.fixture
def services(records: SqlRecords, pictures: MemoryPictures, tmp_path: Path) -> Iterator[list[Storage]]:
    """Two services on one database and one picture store."""
    made = [
        Storage(
            SqlRetention(records.database),
            pictures,
            records,
            RULES,
            DiskSpace(tmp_path, least_free=0),
            holder=name,
            schedule="0 2 * * *",
        )
        for name in ("one", "two")
    ]
    for service in made:
        service.start()
    yield made
    for service in made:
        service.stop(10)


def _reserved(storage: Storage, size: int) -> None:
    until = monotonic() + 20
    while True:
        try:
            storage.limit.reserve(size)
        except StorageFull:
            assert monotonic() < until
            sleep(0.02)
        else:
            return


def test_room_is_made_and_acceptance_goes_on(
    records: SqlRecords, pictures: MemoryPictures, services: list[Storage]
) -> None:
    archive = [Picture(f"{number}", days=50 - number) for number in range(10)]
    fill(records.database, archive, pictures)
    with pytest.raises(StorageFull):
        services[0].limit.reserve(1)
    for service in services:
        _reserved(service, 1)
    assert stored(records.database) == {each.id for each in archive[1:]}
    assert set(pictures.content) == {each.path for each in archive[1:]}


def test_where_only_data_sets_are_left_it_stays_full(
    records: SqlRecords, pictures: MemoryPictures, services: list[Storage]
) -> None:
    archive = [Picture(f"{number}", dataset="nests") for number in range(11)]
    fill(records.database, archive, pictures)
    for _ in range(3):
        with pytest.raises(StorageFull):
            services[0].limit.reserve(1)
    services[0].stop(10)
    assert len(stored(records.database)) == len(pictures.content) == 11
