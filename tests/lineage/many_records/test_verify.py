"""Records and pictures side by side: each way in which they may differ, and what is no difference."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from adapters.picture_stores import open_pictures
from adapters.sql.database import Database
from adapters.sql.sql_verify import SqlRowsByPath
from lineage.errors import PicturesUnavailable
from lineage.picture_store import PictureStore, StoredObject
from lineage.verify import ADVICE, Comparison, Fault, VerifiedRow
from tests.support.archive import NOW, Picture, fill, tell
from tests.support.pictures_memory import MemoryPictures

#: Names that a language sorts differently from their bytes.
ARCHIVE = [
    Picture("one", device="a-b"),
    Picture("two", device="a.b"),
    Picture("three", device="A_b", found=(0.9,)),
    Picture("four", device="a_B"),
    Picture("five", device="ab"),
    Picture("six", device="aB", days=3),
]


def _found(database: Database, pictures: PictureStore, *, hashes: bool = True) -> list[tuple[Fault, str]]:
    look = Comparison(SqlRowsByPath(database), pictures, NOW, hashes=hashes)
    return [(each.fault, each.path) for each in look.findings()]


@pytest.fixture
def archive(database: Database, pictures: MemoryPictures) -> MemoryPictures:
    """Pictures and rows that agree."""
    fill(database, ARCHIVE, pictures)
    return pictures


def test_what_agrees_has_no_findings(database: Database, archive: MemoryPictures) -> None:
    archive.replace("images/ab/2026-11-28/metadata.json", b"{}")
    archive.replace("with-detections/images/ab/copy.jpg", b"copy")
    look = Comparison(SqlRowsByPath(database), archive, NOW)
    assert list(look.findings()) == []
    assert (look.compared, look.others, look.young) == (6, 2, 0)


def test_in_a_folder_too(database: Database, tmp_path: Path) -> None:
    folder = open_pictures(tmp_path / "pictures")
    fill(database, ARCHIVE, folder)
    assert _found(database, folder) == []
    folder.delete([ARCHIVE[3].path])
    assert _found(database, folder) == [(Fault.MISSING_PICTURE, ARCHIVE[3].path)]


@pytest.mark.parametrize("each", ARCHIVE, ids=[each.name for each in ARCHIVE])
def test_a_picture_that_is_lost(database: Database, archive: MemoryPictures, each: Picture) -> None:
    archive.delete([each.path])
    assert _found(database, archive) == [(Fault.MISSING_PICTURE, each.path)]


@pytest.mark.parametrize("path", ["images/a-b/x.jpg", "images/zz/x.jpg", "a.jpg"])
def test_an_object_that_no_row_knows(database: Database, archive: MemoryPictures, path: str) -> None:
    archive.put(path, b"x", {})
    assert _found(database, archive) == [(Fault.UNKNOWN_OBJECT, path)]
    archive.written[path] = NOW - timedelta(minutes=9)
    look = Comparison(SqlRowsByPath(database), archive, NOW)
    assert list(look.findings()) == []
    assert look.young == 1


def test_a_size_and_a_content_that_differ(database: Database, archive: MemoryPictures) -> None:
    cut, changed = ARCHIVE[0], ARCHIVE[5]
    archive.replace(cut.path, cut.content[:-1])
    archive.replace(changed.path, changed.content[:-1] + b"!")
    both = {(Fault.WRONG_SIZE, cut.path), (Fault.WRONG_HASH, changed.path)}
    assert set(_found(database, archive)) == both
    assert _found(database, archive, hashes=False) == [(Fault.WRONG_SIZE, cut.path)]


def test_a_completed_row_without_a_run(database: Database, archive: MemoryPictures) -> None:
    tell(database, "DELETE FROM inference_sessions WHERE num_detections = 1")
    assert _found(database, archive) == [(Fault.HALF_ROW, ARCHIVE[2].path)]
    tell(database, "UPDATE images SET processing_status = 'failed' WHERE has_detections")
    assert _found(database, archive) == []


def test_a_removed_picture_is_not_missed_and_one_that_is_left_over_is_found(
    database: Database, archive: MemoryPictures
) -> None:
    tell(database, "UPDATE images SET deleted_at = uploaded_at WHERE has_detections")
    assert _found(database, archive) == [(Fault.LEFT_OVER, ARCHIVE[2].path)]
    archive.delete([ARCHIVE[2].path])
    assert _found(database, archive) == []


def test_what_comes_and_goes_meanwhile_is_no_finding(database: Database, archive: MemoryPictures) -> None:
    """The store was listed before a picture came, and the rows were read before another was removed."""
    came, gone = ARCHIVE[0], ARCHIVE[2]

    class Earlier(MemoryPictures):
        def objects(self, prefix: str = "") -> Iterator[StoredObject]:
            yield from (each for each in super().objects(prefix) if each.path != came.path)

    class Removing(SqlRowsByPath):
        def rows(self, after: str, limit: int) -> list[VerifiedRow]:
            page = list(super().rows(after, limit))
            tell(database, "UPDATE images SET deleted_at = uploaded_at WHERE has_detections")
            earlier.delete([gone.path])
            return page

    earlier = Earlier()
    earlier.content = archive.content
    assert list(Comparison(Removing(database), earlier, NOW).findings()) == []


def test_a_store_that_lists_in_another_order_is_refused(database: Database, archive: MemoryPictures) -> None:
    class Unordered(MemoryPictures):
        def objects(self, prefix: str = "") -> Iterator[StoredObject]:
            return reversed(list(super().objects(prefix)))

    unordered = Unordered()
    unordered.content = archive.content
    with pytest.raises(PicturesUnavailable, match="lists"):
        _found(database, unordered)


def test_every_fault_has_its_advice() -> None:
    assert ADVICE.keys() == set(Fault)


class Played(MemoryPictures):
    """So many rows and objects, made as they are read; each ten-thousandth object is lost."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self._count = count

    def count(self) -> int:
        return self._count

    def rows(self, after: str, limit: int) -> list[VerifiedRow]:
        first = int(after[-13:-4]) + 1 if after else 0
        return [self.row(_path(number)) for number in range(first, min(first + limit, self._count))]

    def row(self, path: str) -> VerifiedRow:
        return VerifiedRow(ARCHIVE[0].id, path, 7, "", is_removed=False, is_half=False)

    def objects(self, prefix: str = "") -> Iterator[StoredObject]:
        return (StoredObject(_path(n), 7, NOW) for n in range(self._count) if n % 10_000)


def _path(number: int) -> str:
    return f"images/cam/{number:09}.jpg"


@pytest.mark.slow
@pytest.mark.parametrize("count", [20_000, pytest.param(1_000_000, marks=pytest.mark.full)])
def test_memory_stays_flat(count: int) -> None:
    played = Played(count)
    tracemalloc.start()
    look = Comparison(played, played, NOW, hashes=False)
    found = sum(1 for _ in look.findings())
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (found, look.compared) == (count // 10_000, count)
    assert peak < 2_000_000
