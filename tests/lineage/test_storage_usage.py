"""What a picture store holds, measured seldom and counted on between."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from adapters.picture_stores import open_pictures
from lineage.errors import PicturesUnavailable
from lineage.picture_store import PictureStore, StoredObject
from lineage.storage_usage import StorageUsage, Usage
from tests.support.picture_places import folder_place

DAY = "images/cam-1/2026-01-02"


class Counted:
    """A store that counts how often it is listed, and puts a picture meanwhile if it is told to."""

    def __init__(self, pictures: PictureStore) -> None:
        self._pictures = pictures
        self.lists = 0
        self.meanwhile: list[int] = []
        self.usage: StorageUsage | None = None

    def objects(self, prefix: str = "") -> Iterator[StoredObject]:
        self.lists += 1
        while self.meanwhile:
            size = self.meanwhile.pop()
            self._pictures.put(f"{DAY}/{size}.jpg", b"x" * size, {})
            assert self.usage is not None
            self.usage.added(size)
        yield from self._pictures.objects(prefix)


@pytest.fixture
def now() -> list[float]:
    return [0.0]


@pytest.fixture
def pictures(tmp_path: Path) -> PictureStore:
    return open_pictures(tmp_path / "pictures")


@pytest.fixture
def counted(pictures: PictureStore) -> Counted:
    return Counted(pictures)


@pytest.fixture
def usage(counted: Counted, now: list[float]) -> StorageUsage:
    made = StorageUsage(counted, lambda: now[0])  # type: ignore[arg-type]
    counted.usage = made
    return made


def test_it_is_the_sum_over_all_objects(pictures: PictureStore, usage: StorageUsage) -> None:
    pictures.put(f"{DAY}/a.jpg", b"x" * 100, {})
    pictures.replace(f"{DAY}/metadata.json", b"{}")
    assert usage.current() == Usage(102, 2)


def test_what_is_put_and_deleted_is_counted_without_listing(
    pictures: PictureStore, usage: StorageUsage, counted: Counted
) -> None:
    pictures.put(f"{DAY}/a.jpg", b"x" * 100, {})
    usage.current()
    usage.added(50)
    usage.added(5)
    usage.removed(100)
    assert usage.current() == Usage(55, 2)
    assert counted.lists == 1


def test_after_an_hour_it_is_measured_anew(
    pictures: PictureStore, usage: StorageUsage, counted: Counted, now: list[float]
) -> None:
    assert usage.current() == Usage(0, 0)
    pictures.put(f"{DAY}/by-another-service.jpg", b"x" * 100, {})
    pictures.put(f"{DAY}/ours.jpg", b"x" * 10, {})
    usage.added(10)
    now[0] = 3599
    assert usage.current() == Usage(10, 1)
    now[0] = 3600
    assert usage.current() == Usage(110, 2)
    assert usage.current() == Usage(110, 2)
    assert counted.lists == 2


def test_what_comes_while_it_is_measured_is_not_lost(usage: StorageUsage, counted: Counted) -> None:
    counted.meanwhile = [7]
    assert usage.current().used_bytes >= 7


def test_while_the_store_is_away_the_last_measurement_holds(tmp_path: Path, now: list[float]) -> None:
    place = folder_place(tmp_path / "pictures")
    usage = StorageUsage(place.open(), lambda: now[0])
    with place.away(), pytest.raises(PicturesUnavailable):
        usage.current()
    usage.current()
    usage.added(10)
    now[0] = 4000
    with place.away():
        assert usage.current() == Usage(10, 1)
