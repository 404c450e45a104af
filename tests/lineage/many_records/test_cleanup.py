"""Clean-ups on both databases: what goes and stays, stopped anywhere, beside people and other services."""

from __future__ import annotations

import threading
import tracemalloc
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from time import monotonic
from uuid import UUID

import pytest
from sqlalchemy import event

from adapters.sql.database import Database
from adapters.sql.sql_annotations import SqlAnnotations
from adapters.sql.sql_datasets import SqlDatasets
from adapters.sql.sql_records import SqlRecords
from adapters.sql.sql_retention import SqlRetention
from lineage.annotations import Annotation, AnnotationType
from lineage.cleanup import BATCH, Cleanup, CleanupReport
from lineage.errors import PicturesUnavailable
from lineage.retention import Reason, Removal, RetentionRules, Worth
from tests.support.archive import NOW, Picture, fill, stored, tell
from tests.support.pictures_memory import MemoryPictures
from tests.support.stopped_calls import Killed, StopAt

RULES = RetentionRules(days=90, most_bytes=1000, warning_bytes=850)
UNBOUNDED = RetentionRules(days=90)


class Leases(SqlRecords):
    """The records' own tasks, over a database that is open, with a clock of the test."""

    def __init__(self, database: Database, clock: Callable[[], datetime]) -> None:
        self._database = database
        self._clock = clock


def _leases(database: Database, now: datetime) -> Leases:
    return Leases(database, lambda: now)


def _cleanup(
    database: Database,
    pictures: MemoryPictures,
    rules: RetentionRules = RULES,
    *,
    now: datetime = NOW,
    stop: StopAt | None = None,
    batch: int = BATCH,
) -> Cleanup:
    stop = stop or StopAt(0, after=False)
    return Cleanup(
        stop.wrap(SqlRetention(database)),
        stop.wrap(pictures),
        stop.wrap(_leases(database, now)),
        rules,
        clock=lambda: now,
        holder="one",
        batch=batch,
    )


def _report(cleanup: Cleanup) -> CleanupReport:
    report = cleanup.run()
    assert report is not None
    return report


ARCHIVE = (
    Picture("old and empty", days=100),
    Picture("old and low", days=95, found=(0.5, 0.6)),
    Picture("old and high", days=99, found=(0.3, 0.9)),
    Picture("old and flagged", days=98, is_flagged=True),
    Picture("old and in a data set", days=120, dataset="nests"),
    Picture("empty", days=20, size=400),
    Picture("newer and empty", days=2, size=400),
    Picture("low", days=30, found=(0.4,)),
)


def test_by_age_then_by_size(database: Database, pictures: MemoryPictures) -> None:
    fill(database, ARCHIVE, pictures)
    report = _report(_cleanup(database, pictures))
    gone = {each.id for each in ARCHIVE} - stored(database)
    assert gone == {each.id for each in ARCHIVE if each.name in ("old and empty", "old and low", "empty")}
    assert set(pictures.content) == {each.path for each in ARCHIVE if each.id not in gone}
    assert (report.reasons[Reason.AGE].pictures, report.reasons[Reason.SIZE].size) == (2, 400)
    assert (report.classes[Worth.EMPTY].pictures, report.total.size) == (2, 600)
    assert pictures.commits == ["retention: 3 pictures removed"]


def test_rows_stay_as_tombstones_with_their_detections(database: Database, pictures: MemoryPictures) -> None:
    fill(database, ARCHIVE, pictures)
    _report(_cleanup(database, pictures))
    rows = tell(
        database,
        "SELECT deletion_reason, count(*) FROM images WHERE deleted_at IS NOT NULL "
        "AND picture_removed_at IS NOT NULL GROUP BY 1 ORDER BY 1",
    )
    assert [tuple(row) for row in rows] == [("age", 2), ("size", 1)]
    assert tell(database, "SELECT count(*) FROM detections")[0][0] == 5


def test_a_dry_run_lists_what_a_run_removes_and_changes_nothing(
    database: Database, pictures: MemoryPictures
) -> None:
    fill(database, ARCHIVE, pictures)
    planned = [(each.picture.path, each.reason) for each in _cleanup(database, pictures).plan()]
    assert (len(stored(database)), len(pictures.content)) == (8, 8)
    before = set(pictures.content)
    report = _report(_cleanup(database, pictures))
    assert {path for path, _ in planned} == before - set(pictures.content)
    assert [reason for _, reason in planned] == [Reason.AGE, Reason.AGE, Reason.SIZE]
    assert len(planned) == report.total.pictures


def test_what_a_data_set_holds_never_goes(database: Database, pictures: MemoryPictures) -> None:
    held = [Picture(f"held {number}", days=500, dataset="nests", size=1000) for number in range(5)]
    fill(database, [*held, Picture("not held", found=(0.99,), is_flagged=True)], pictures)
    _report(_cleanup(database, pictures))
    assert stored(database) == {each.id for each in held}
    assert SqlDatasets(database).release("nests") == 5
    _report(_cleanup(database, pictures))
    assert stored(database) == set()


def test_the_document_of_a_day_goes_with_its_last_picture(
    database: Database, pictures: MemoryPictures
) -> None:
    alone, other = Picture("alone", days=100), Picture("other", days=101)
    beside = Picture("beside", days=101, is_flagged=True)
    fill(database, [alone, other, beside], pictures)
    for folder in {alone.folder, other.folder}:
        pictures.replace(f"{folder}/metadata.json", b"{}")
    _report(_cleanup(database, pictures))
    assert set(pictures.content) == {beside.path, f"{beside.folder}/metadata.json"}


MANY = [Picture(f"old {number}", days=100 + number / 1e4) for number in range(2 * BATCH + 50)]


@pytest.mark.slow
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_a_cleanup_stopped_at_any_call_is_completed_by_the_next(
    database: Database, pictures: MemoryPictures, after: bool
) -> None:
    archive = [*MANY[:12], Picture("new"), Picture("old and flagged", days=200, is_flagged=True)]
    fill(database, archive, pictures)
    call = 0
    while True:
        call += 1
        tell(
            database, "UPDATE images SET deleted_at = NULL, deletion_reason = NULL, picture_removed_at = NULL"
        )
        for each in archive:
            pictures.put(each.path, each.content, {})
        stop = StopAt(call, after=after)
        try:
            _report(_cleanup(database, pictures, UNBOUNDED, stop=stop, batch=5))
            break
        except Killed:
            live = {each.path for each in archive if each.id in stored(database)}
            assert live <= set(pictures.content), f"a row without its picture after {stop.calls}"
        _report(_cleanup(database, pictures, UNBOUNDED))
        assert set(pictures.content) == {each.path for each in archive[-2:]}, f"stopped at {stop.calls}"
        assert SqlRetention(database).in_removal(1) == []
    assert {"entomb", "delete", "removed", "commit"} <= set(stop.calls)
    assert call == len(stop.calls) + 1


def test_a_picture_store_that_is_away_leaves_tombstones_for_the_next_run(
    database: Database, pictures: MemoryPictures, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Away(MemoryPictures):
        def delete(self, paths: object) -> None:
            raise PicturesUnavailable("away")

    fill(database, [Picture("old", days=100)], pictures)
    away = Away()
    away.content = pictures.content
    with pytest.raises(PicturesUnavailable):
        _cleanup(database, away).run()
    assert len(SqlRetention(database).in_removal(10)) == len(pictures.content) == 1
    report = _report(_cleanup(database, pictures))
    assert (report.completed, report.total.pictures, pictures.content) == (1, 0, {})


def test_while_pictures_are_committed_their_commit_has_the_deletions(
    database: Database, pictures: MemoryPictures
) -> None:
    fill(database, ARCHIVE, pictures)
    leases = _leases(database, NOW)
    assert leases.hold("commit", "one", 60)  # by this service's own committer
    assert _report(_cleanup(database, pictures)).total.pictures == 3
    assert pictures.commits == []
    leases.hold("commit", "one", 0)
    fill(database, [Picture("another", days=100)], pictures)
    _report(_cleanup(database, pictures))
    assert len(pictures.commits) == 1
    assert leases.hold("commit", "one", 60)


@pytest.mark.slow
def test_transactions_are_small(database: Database, pictures: MemoryPictures) -> None:
    fill(database, [Picture(f"old {number}", days=100 + number / 1e4) for number in range(500)], pictures)
    changed: list[int] = []

    @event.listens_for(database.engine, "after_cursor_execute")
    def count(*call: object) -> None:
        if str(call[2]).startswith("UPDATE"):
            changed.append(call[1].rowcount)  # type: ignore[attr-defined]

    assert _report(_cleanup(database, pictures)).total.pictures == 500
    assert changed == [200, 200, 200, 200, 100, 100]


def test_two_services_one_cleans(database: Database, pictures: MemoryPictures) -> None:
    fill(database, ARCHIVE, pictures)
    leases = _leases(database, NOW)
    assert leases.hold("retention", "other", 120)
    assert _cleanup(database, pictures).run() is None
    assert len(stored(database)) == 8
    later = NOW + timedelta(seconds=120)
    assert _report(_cleanup(database, pictures, now=later)).total.pictures == 3
    assert _leases(database, later).hold("retention", "other", 120)  # it was given back


def test_who_loses_the_right_stops(database: Database, pictures: MemoryPictures) -> None:
    fill(database, MANY, pictures)

    class Passing:
        calls = 0

        def hold(self, task: str, holder: str, seconds: float) -> bool:
            self.calls += task == "retention"
            return self.calls <= 2

    cleanup = Cleanup(SqlRetention(database), pictures, Passing(), RULES, clock=lambda: NOW, holder="one")
    report = _report(cleanup)
    assert (report.total.pictures, report.is_cut_short) == (BATCH, True)


def test_a_stop_ends_between_two_batches(database: Database, pictures: MemoryPictures) -> None:
    fill(database, MANY, pictures)
    asked: list[bool] = []

    def stopped() -> bool:
        asked.append(True)
        return len(asked) > 2

    report = _cleanup(database, pictures).run(stopped)
    assert report is not None
    assert (report.total.pictures, report.is_cut_short) == (BATCH, True)
    assert _leases(database, NOW).hold("retention", "other", 1)


Change = Callable[[Database, UUID], object]


def _annotate(database: Database, image_id: UUID) -> object:
    return SqlAnnotations(database).add(Annotation(image_id, AnnotationType.MISSED_DETECTION), NOW)


CHANGES: list[Change] = [
    lambda database, image_id: SqlAnnotations(database).flag(image_id, is_flagged=True),
    _annotate,
    lambda database, image_id: SqlDatasets(database).hold("nests", [image_id], NOW),
]


@pytest.mark.parametrize("change", CHANGES, ids=["flag", "annotate", "hold"])
def test_what_somebody_marks_between_look_and_tombstone_stays(
    database: Database, pictures: MemoryPictures, change: Change
) -> None:
    old = Picture("old", days=100)
    fill(database, [old, Picture("older", days=101)], pictures)

    class Marking(SqlRetention):
        def entomb(
            self, removals: Sequence[Removal], still_goes: Callable[[Removal], bool], moment: datetime
        ) -> Sequence[Removal]:
            change(database, old.id)
            return super().entomb(removals, still_goes, moment)

    cleanup = Cleanup(
        Marking(database), pictures, _leases(database, NOW), RULES, clock=lambda: NOW, holder="one"
    )
    assert _report(cleanup).total.pictures == 1
    assert stored(database) == {old.id}
    assert set(pictures.content) == {old.path}


def test_a_data_set_that_is_being_tagged_holds_up_the_tombstone(
    is_sqlite: bool, database: Database, pictures: MemoryPictures
) -> None:
    """PostgreSQL only: SQLite has one writer at a time."""
    if is_sqlite:
        pytest.skip("one writer at a time")
    old = Picture("old", days=100)
    fill(database, [old], pictures)
    waiting = threading.Event()

    @event.listens_for(database.engine, "before_cursor_execute")
    def looks(*call: object) -> None:
        if "FOR UPDATE" in str(call[2]):
            waiting.set()

    reports: list[CleanupReport | None] = []
    cleaner = threading.Thread(target=lambda: reports.append(_cleanup(database, pictures).run()))

    @event.listens_for(database.engine, "after_cursor_execute")
    def meanwhile(*call: object) -> None:
        if "INTO dataset_images" in str(call[2]):
            cleaner.start()
            assert waiting.wait(10)

    assert SqlDatasets(database).hold("nests", [old.id], NOW) == {old.id}
    cleaner.join(20)
    assert reports[0] is not None
    assert reports[0].total.pictures == 0
    assert stored(database) == {old.id}


@pytest.mark.full
@pytest.mark.timeout(600)
def test_a_hundred_thousand_pictures(database: Database, pictures: MemoryPictures) -> None:
    def archive(kept: bool) -> Sequence[Picture]:
        return [
            Picture(
                f"{kept} {n}",
                days=100 + n / 1e5,
                size=40,
                found=(0.9,) if kept else (),
                device=f"cam-{n % 20}",
            )
            for n in range(20_000 if kept else 100_000)
        ]

    fill(database, archive(kept=True), None)
    fill(database, archive(kept=False), None)
    tracemalloc.start()
    began = monotonic()
    report = _report(_cleanup(database, pictures, UNBOUNDED))
    seconds, (_, peak) = monotonic() - began, tracemalloc.get_traced_memory()
    tracemalloc.stop()
    print(f"\n{database.name}: {report.total.pictures} in {seconds:.0f} s, peak {peak / 1e6:.1f} MB")
    assert report.total.pictures == 100_000
    assert len(stored(database)) == 20_000
    assert peak < 10_000_000


def test_the_sum_of_the_sizes_reads_the_index_alone(is_sqlite: bool, database: Database) -> None:
    if not is_sqlite:
        pytest.skip("PostgreSQL chooses by its statistics")
    plan = tell(
        database,
        "EXPLAIN QUERY PLAN SELECT count(*), coalesce(sum(images.size_bytes), 0) FROM images "
        "WHERE images.deleted_at IS NULL",
    )
    assert "COVERING INDEX images_stored" in plan[0][3]
