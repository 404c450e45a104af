"""When a picture is refused because the storage is full, and how cheaply that is known."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from lineage.errors import RecordsUnavailable, StorageFull
from lineage.retention import RetentionRules
from lineage.storage_limit import DiskSpace, StorageLimit

RULES = RetentionRules(most_bytes=1000, warning_bytes=850)


class Storage:
    """A storage that is played, with its clock."""

    def __init__(self, used: int = 0) -> None:
        self.used: int | None = used
        self.now = 0.0
        self.short = 0
        self.asked = 0
        self.looks = 0
        self.limit = StorageLimit(self._look, RULES, self._ask, lambda: self.now, lambda: self.short)

    def _look(self) -> int:
        self.looks += 1
        if self.used is None:
            raise RecordsUnavailable("away")
        return self.used

    def _ask(self) -> None:
        self.asked += 1


def test_what_fits_is_accepted_and_the_records_are_asked_once_a_minute() -> None:
    storage = Storage(used=500)
    for _ in range(50):
        storage.limit.reserve(10)
    assert (storage.looks, storage.limit.used_bytes) == (1, 1000)
    with pytest.raises(StorageFull):
        storage.limit.reserve(1)
    storage.now, storage.used = 60.0, 700
    storage.limit.reserve(300)
    assert (storage.looks, storage.limit.used_bytes) == (2, 1000)


def test_over_the_limit_a_cleanup_is_asked_for_and_room_is_noticed_within_seconds() -> None:
    storage = Storage(used=1000)
    with pytest.raises(StorageFull):
        storage.limit.reserve(1)
    assert storage.asked == 1
    storage.used = 950
    storage.now = 5.0
    storage.limit.reserve(50)
    assert storage.asked == 1


def test_after_a_cleanup_the_room_is_noticed_at_once() -> None:
    storage = Storage(used=1000)
    with pytest.raises(StorageFull):
        storage.limit.reserve(1)
    storage.used = 950
    with pytest.raises(StorageFull):
        storage.limit.reserve(1)
    storage.limit.look_again()
    storage.limit.reserve(50)
    assert storage.looks == 2


@pytest.mark.parametrize(("used", "alert"), [(850, False), (851, True), (2000, True)])
def test_the_alert(used: int, alert: bool) -> None:
    assert Storage(used=used).limit.is_over_warning is alert


def test_a_disk_that_is_nearly_full_refuses_and_alerts() -> None:
    storage = Storage()
    storage.short = 5
    with pytest.raises(StorageFull):
        storage.limit.reserve(1)
    assert storage.limit.is_over_warning
    assert storage.asked == 1
    storage.short, storage.now = 0, 5.0
    storage.limit.reserve(1)
    assert not storage.limit.is_over_warning


def test_records_that_are_away_refuse_nothing_here_and_the_last_reading_holds() -> None:
    storage = Storage(used=990)
    storage.limit.reserve(5)
    storage.used, storage.now = None, 100.0
    with pytest.raises(StorageFull):
        storage.limit.reserve(6)
    storage.limit.reserve(5)
    unknown = Storage()
    unknown.used = None
    unknown.limit.reserve(1000)


def test_while_one_thread_reads_others_go_on_with_the_last_reading() -> None:
    reading, go_on = threading.Event(), threading.Event()
    now = 0.0
    looks = 0

    def used() -> int:
        nonlocal looks
        looks += 1
        if looks > 1:
            reading.set()
            assert go_on.wait(10)
        return 100 * looks

    limit = StorageLimit(used, RULES, lambda: None, lambda: now)
    assert limit.used_bytes == 100
    now = 100.0
    slow = threading.Thread(target=lambda: limit.is_over_warning)
    slow.start()
    assert reading.wait(10)
    assert (limit.used_bytes, looks) == (100, 2)
    limit.reserve(7)
    go_on.set()
    slow.join(10)
    assert (limit.used_bytes, looks) == (207, 2)


def test_the_space_of_a_disk(tmp_path: Path) -> None:
    assert DiskSpace(tmp_path, least_free=1).short() == 0
    assert DiskSpace(tmp_path, least_free=1 << 60).short() > 1 << 50
    assert DiskSpace(tmp_path / "absent", least_free=1 << 60).short() == 0


def test_pictures_go_for_a_full_disk_only_where_they_lie_on_it(tmp_path: Path) -> None:
    here, elsewhere = tmp_path / "pictures", Path("/proc")
    here.mkdir()
    assert DiskSpace(tmp_path, here, 1 << 60).short_of_pictures() > 1 << 50
    assert DiskSpace(tmp_path, elsewhere, 1 << 60).short_of_pictures() == 0
    assert DiskSpace(tmp_path, None, 1 << 60).short_of_pictures() == 0
    assert DiskSpace(tmp_path, tmp_path / "absent", 1 << 60).short_of_pictures() == 0
