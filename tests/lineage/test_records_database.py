"""The records in a database: its own rules, races of processes, a server that is away, SQLite by itself."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from threading import Barrier
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import Table, delete, event, func, insert, select, text
from sqlalchemy.exc import IntegrityError

from adapters.records import open_records
from adapters.sql import schema
from adapters.sql.database import RECORDS
from adapters.sql.lineage_tables import (
    ANNOTATIONS,
    DATASETS,
    DETECTIONS,
    DEVICES,
    IMAGES,
    METRICS,
    SESSIONS,
)
from adapters.sql.sql_records import SqlRecords
from common.files import locked
from lineage.errors import BadDatabaseUrl, RecordsUnavailable
from tests.lineage.saving import HAND_INS, save_all
from tests.support.captures import NOON, a_capture, a_record, something
from tests.support.postgres import PostgresServer, running_server


@pytest.fixture
def records(database_url: str) -> Iterator[SqlRecords]:
    opened = SqlRecords(database_url)
    yield opened
    opened.close()


def _count(records: SqlRecords, table: Table) -> int:
    with records.database.reading() as connection:
        return connection.execute(select(func.count()).select_from(table)).scalar_one()


def _do(records: SqlRecords, statement: Any) -> Any:
    """Outside our own errors, as another program would."""
    with records.database.engine.begin() as connection:
        return connection.execute(statement)


def _annotate(records: SqlRecords, image: object, detection: object, **changes: object) -> None:
    row = {
        "id": uuid4(),
        "image_id": image,
        "detection_id": detection,
        "annotation_type": "wrong_label",
        "annotated_at": NOON,
    }
    _do(records, insert(ANNOTATIONS).values(row | changes))


def test_a_device_s_row_is_made_once_and_tells_when_it_was_seen_last(records: SqlRecords) -> None:
    for number in (2, 3, 1):
        records.save(a_record(a_capture(number)))
    records.save(a_record(a_capture(1, device="cam-2")))
    with records.database.reading() as connection:
        rows = connection.execute(select(DEVICES).order_by(DEVICES.c.device_id)).all()
    assert [row.device_id for row in rows] == ["cam-1", "cam-2"]
    assert rows[0].last_seen == a_record(a_capture(3)).uploaded_at, "it does not go back"
    assert rows[0].created_at == a_record(a_capture(2)).uploaded_at


def test_a_picture_goes_with_all_that_is_known_of_it(records: SqlRecords) -> None:
    gone, stays = (records.save(a_record(a_capture(number, device=f"cam-{number}"))) for number in (1, 2))
    for record in (gone, stays):
        _annotate(records, record.image_id, record.found[0].id)
        _do(records, insert(DATASETS).values(dataset="d", image_id=record.image_id, added_at=NOON))
    _do(records, delete(DEVICES).where(DEVICES.c.device_id == "cam-1"))
    assert records.image(gone.image_id) is None
    assert records.image(stays.image_id) == stays
    children = (DEVICES, IMAGES, DETECTIONS, SESSIONS, ANNOTATIONS, DATASETS)
    assert [_count(records, table) for table in children] == [1] * 6


def test_an_annotation_goes_with_its_detection(records: SqlRecords) -> None:
    saved = records.save(a_record(found=(something(), something())))
    _annotate(records, saved.image_id, saved.found[0].id)
    _annotate(records, saved.image_id, None)
    _do(records, delete(DETECTIONS).where(DETECTIONS.c.id == saved.found[0].id))
    assert _count(records, ANNOTATIONS) == 1


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE detections SET bbox_x1 = -0.1",
        "UPDATE detections SET bbox_y2 = 1.1",
        "UPDATE detections SET confidence = 1.5",
        "UPDATE images SET processing_status = 'lost'",
        "UPDATE inference_sessions SET status = 'good'",
        "UPDATE data_annotations SET annotation_type = 'nice'",
        "UPDATE images SET sha256 = 'x', captured_at = (SELECT min(captured_at) FROM images)",
        "UPDATE images SET idempotency_key = 'k'",
        "UPDATE images SET lakefs_path = 'p'",
        "UPDATE detections SET label = NULL",
    ],
)
def test_the_database_itself_refuses_what_cannot_be(records: SqlRecords, statement: str) -> None:
    for number in (1, 2):
        saved = records.save(a_record(a_capture(number)))
    _annotate(records, saved.image_id, None)
    with pytest.raises(IntegrityError):
        _do(records, text(statement))


def test_a_record_of_another_program_s_run_stays_out_of_the_first_answer(records: SqlRecords) -> None:
    saved = records.save(a_record())
    row = {"id": uuid4(), "image_id": saved.image_id, "model_name": "other", "model_version": "v9"}
    box = {f"bbox_{name}": 0.5 for name in ("x1", "y1", "x2", "y2")}
    rest = {"model_digest": "d", "confidence": 0.5, "label": "cat", "created_at": NOON}
    _do(records, insert(DETECTIONS).values(row | box | rest))
    assert records.image(saved.image_id) == saved


def test_a_removed_picture_is_in_no_folder_and_waits_for_no_commit(records: SqlRecords) -> None:
    saved = records.save(a_record())
    _do(records, text("UPDATE images SET deleted_at = uploaded_at, deletion_reason = 'age'"))
    assert list(records.folder(saved.path.rpartition("/")[0])) == []
    assert records.uncommitted(9) == []
    assert records.find(saved.capture) == saved, "a retry is answered all the same"
    assert records.path_holder(saved.path) == saved.image_id


def test_metrics_are_kept_for_thirty_days(records: SqlRecords) -> None:

    for days in (0, 29, 30):
        moment = NOON + timedelta(days=days)
        records.note_metrics(moment, {"queue": (days, {"service": "a"}), "broken": (float("nan"), {})})
    records.note_metrics(NOON + timedelta(days=30, seconds=1), {"queue": (1e300, {})})
    with records.database.reading() as connection:
        rows = connection.execute(select(METRICS).order_by(METRICS.c.id)).all()
    assert [(row.metric_name, row.metric_value) for row in rows] == [
        ("queue", 29),
        ("queue", 30),
        ("queue", pytest.approx(3e38)),
    ]
    assert [row.labels for row in rows] == [{"service": "a"}, {"service": "a"}, {}]


@pytest.mark.process
@pytest.mark.timeout(120)
def test_processes_that_start_at_once_store_each_hand_in_once(empty_database: str) -> None:
    """The tables of SQLite are made by whoever comes first."""
    if not empty_database.startswith("sqlite"):
        schema.upgrade(empty_database)
    context = multiprocessing.get_context("spawn")
    start, told = context.Barrier(2), context.Queue()  # type: Any, Queue[list[str]]
    racers = [context.Process(target=save_all, args=(empty_database, start, told)) for _ in range(2)]
    for racer in racers:
        racer.start()
    answers = [told.get(timeout=100) for _ in racers]
    for racer in racers:
        racer.join(30)
    assert answers[0] == answers[1]
    with closing(open_records(empty_database)) as records:
        counts = [_count(records, table) for table in (DEVICES, IMAGES, DETECTIONS, SESSIONS)]
    assert counts == [1, HAND_INS, 2 * HAND_INS, HAND_INS]


@pytest.fixture
def own_postgres() -> Iterator[PostgresServer]:
    """A server that a test may stop."""
    with running_server() as server:
        if not server.is_own:
            pytest.skip("the server of TEST_DATABASE_URL is not ours to stop")
        yield server


@pytest.mark.process
@pytest.mark.timeout(60)
def test_while_postgresql_is_away_nothing_is_accepted(own_postgres: PostgresServer) -> None:
    with own_postgres.database() as url:
        schema.upgrade(url)
        with closing(SqlRecords(url)) as records:
            saved = records.save(a_record(a_capture(1)))
            own_postgres.stop()
            for ask in (
                lambda: records.find(saved.capture),
                lambda: records.save(a_record(a_capture(2))),
                lambda: records.uncommitted(1),
                lambda: records.hold("t", "a", 60),
                lambda: records.note_metrics(NOON, {"m": (1.0, {})}),
            ):
                with pytest.raises(RecordsUnavailable) as refused:
                    ask()
                assert refused.value.transient
            own_postgres.start()
            assert records.image(a_capture(2).image_id) is None
            assert records.find(saved.capture) == saved
            second = records.save(a_record(a_capture(2)))
            assert records.image(second.image_id) == second


def test_the_embedded_database_makes_itself(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/new/home/records.db"
    with closing(open_records(url)) as records:
        saved = records.save(a_record())
    assert schema.check(url, RECORDS).is_current
    with closing(open_records(url)) as records:
        assert records.image(saved.image_id) == saved


@pytest.mark.slow
@pytest.mark.timeout(60)
def test_workers_that_make_it_at_once_do_not_disturb_each_other(tmp_path: Path) -> None:
    for count in range(5):
        url, start = f"sqlite:///{tmp_path}/{count}/records.db", Barrier(6)

        def made(_number: int, url: str = url, start: Barrier = start) -> bool:
            start.wait(30)
            with closing(open_records(url)) as records:
                return records.uncommitted(1) == []

        with ThreadPoolExecutor(6) as threads:
            assert all(threads.map(made, range(6)))


def test_who_makes_it_has_a_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A migration may take longer than SQLite lets a writer wait."""
    monkeypatch.setattr("adapters.records._WAIT", 0.0)
    url = f"sqlite:///{tmp_path}/records.db"
    with locked(tmp_path / ".records.db.lock"), pytest.raises(RecordsUnavailable, match="locked"):
        open_records(url)
    assert not (tmp_path / "records.db").exists()
    open_records(url).close()


def test_an_older_database_is_brought_to_this_release_with_what_it_holds(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/records.db"
    schema.upgrade(url, "0003")
    with (
        closing(open_records(url, create=False)) as records,
        pytest.raises(RecordsUnavailable, match="upgrade"),
    ):
        records.save(a_record())
    with closing(open_records(url)) as records:
        records.save(a_record())
        assert _count(records, IMAGES) == 1


@pytest.mark.process
def test_postgresql_is_left_to_the_one_who_migrates(postgres: PostgresServer) -> None:
    with postgres.database() as url, closing(open_records(url)) as records:
        with pytest.raises(RecordsUnavailable, match="okawari db upgrade"):
            records.save(a_record())
        schema.upgrade(url)
        assert records.save(a_record()).run is not None


def test_a_place_that_cannot_be_is_told_so(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(RecordsUnavailable, match="cannot be made"):
        open_records(f"sqlite:///{tmp_path}/file/records.db")
    for wrong in ("mysql://ann:geheim@host/db", "records.db"):
        with pytest.raises(BadDatabaseUrl) as refused:
            open_records(wrong)
        assert "geheim" not in str(refused.value)


def _plans(records: SqlRecords, ask: Callable[[], object]) -> str:
    """How the database goes about what a method asks."""
    asked: list[tuple[str, Any]] = []

    def note(_c: object, _cursor: object, statement: str, parameters: Any, *_: object) -> None:
        asked.append((statement, parameters))

    engine = records.database.engine
    event.listen(engine, "before_cursor_execute", note)
    ask()
    event.remove(engine, "before_cursor_execute", note)
    is_sqlite = engine.dialect.name == "sqlite"
    explain = "EXPLAIN QUERY PLAN" if is_sqlite else "EXPLAIN"
    lines = []
    with engine.connect() as connection:
        if not is_sqlite:  # what it would choose with many rows
            connection.exec_driver_sql("SET enable_seqscan = off")
        for statement, parameters in asked:
            if statement.lstrip().startswith(("SELECT", "UPDATE", "INSERT")):
                rows = connection.exec_driver_sql(f"{explain} {statement}", parameters)
                lines += [str(row[-1]) for row in rows]
    return "\n".join(lines)


@pytest.mark.slow
def test_each_question_of_a_request_is_answered_by_an_index(records: SqlRecords) -> None:
    for number in range(40):
        records.save(
            a_record(a_capture(number, idempotency_key=f"k{number}"), commit_id="c" if number else None)
        )
    capture = a_capture(1, idempotency_key="k1")
    for ask, index in (
        (lambda: records.path_holder("x"), "images_lakefs_path"),
        (lambda: records.uncommitted(10), "images_uncommitted"),
        (lambda: list(records.folder("images/cam-1/2026-11-29")), "images_"),
        (lambda: records.find(capture), "images_"),
        (lambda: records.image(capture.image_id), "images"),
        (lambda: records.committed([capture.image_id], "c"), "images"),
    ):
        plan = _plans(records, ask)
        assert index in plan
        whole = [line for line in plan.splitlines() if "SCAN" in line and "images_uncommitted" not in line]
        assert whole == []
        assert "Seq Scan" not in plan, plan
