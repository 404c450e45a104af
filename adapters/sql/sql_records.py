"""The records of pictures in a database."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Connection, case, delete, insert, literal, select, true, update

from adapters.sql.database import RECORDS, Database, PoolSize
from adapters.sql.dialects import Clock, allow_seconds, database_time, insertion
from adapters.sql.image_rows import detection_rows, device_row, image_row, read_images, session_row
from adapters.sql.lineage_tables import DETECTIONS, DEVICES, IMAGES, METRICS, SESSIONS, TASKS
from adapters.sql.tables import UtcTime
from lineage.errors import KeyReused, PathTaken, RecordsUnavailable
from lineage.record_store import METRIC_DAYS, Uncommitted
from lineage.records import Capture, ImageRecord, ProcessingStatus
from lineage.stored_form import as_stored, check_key, number, plain_json, plain_text

#: Seconds that reading a page of a device's day may take.
_DAY_SECONDS = 60.0
#: Records of a day that are in memory at once; at most as many ids as may stand in one statement.
_PAGE = 250
#: So many ids stand in one statement.
_MOST_IDS = 500
_METRIC_NAME = 100
_NOT_COMPLETED = tuple(
    status.value for status in ProcessingStatus if status is not ProcessingStatus.COMPLETED
)


class SqlRecords:
    """A `ImageRecordStore` in SQLite or PostgreSQL, whose tables `adapters.sql.schema.upgrade` makes."""

    def __init__(
        self,
        url: str,
        pool: PoolSize | None = None,
        *,
        echo: bool = False,
        clock: Clock | None = None,
    ) -> None:
        """Connects when it is first asked. Without `clock` the database's own decides who holds a task.

        Raises `BadDatabaseUrl` for another kind of URL.
        """
        self._database = Database(url, RECORDS, pool or PoolSize(), echo=echo)
        self._clock = clock

    @property
    def name(self) -> str:
        """See `ImageRecordStore`."""
        return self._database.name

    @property
    def database(self) -> Database:
        """The pool of connections, for what else lies in the same database."""
        return self._database

    def find(self, capture: Capture) -> ImageRecord | None:
        """See `ImageRecordStore`. Raises `BadRequest` for a key that no record can have."""
        check_key(capture.idempotency_key)
        with self._database.reading() as connection:
            return _find(connection, capture)

    def save(self, record: ImageRecord) -> ImageRecord:
        """See `ImageRecordStore`. Raises `BadRequest` for a key that no record can have."""
        record = as_stored(record)
        with self._database.writing() as connection:
            device = _device(connection, record.capture.device_id, record.uploaded_at)
            added = insertion(connection, IMAGES).values(image_row(record, device)).on_conflict_do_nothing()
            # Not by rowcount, which PostgreSQL's driver does not tell here.
            if connection.execute(added.returning(IMAGES.c.id)).first() is None:
                return _standing(connection, record)
            if found := detection_rows(record):
                connection.execute(insert(DETECTIONS), found)
            if record.run is not None:
                connection.execute(insert(SESSIONS).values(session_row(record, record.run)))
        return record

    def image(self, image_id: UUID) -> ImageRecord | None:
        """See `ImageRecordStore`."""
        with self._database.reading() as connection:
            return next(iter(read_images(connection, IMAGES.c.id == image_id)), None)

    def path_holder(self, path: str) -> UUID | None:
        """See `ImageRecordStore`."""
        with self._database.reading() as connection:
            return _path_holder(connection, path)

    def uncommitted(self, limit: int) -> Sequence[Uncommitted]:
        """See `ImageRecordStore`."""
        columns = (IMAGES.c.id, DEVICES.c.device_id, IMAGES.c.lakefs_path, IMAGES.c.uploaded_at)
        # By the reason, not the moment: the index of all stored pictures fits the moment.
        waiting = IMAGES.c.lakefs_commit_id.is_(None) & IMAGES.c.deletion_reason.is_(None)
        # Not by equality: SQLite would go through the index of all completed pictures.
        completed = IMAGES.c.processing_status.not_in(_NOT_COMPLETED)
        query = select(*columns).join(DEVICES).where(waiting, completed)
        with self._database.reading() as connection:
            rows = connection.execute(query.order_by(IMAGES.c.uploaded_at, IMAGES.c.id).limit(limit)).all()
        return [Uncommitted(*row) for row in rows]

    def folder(self, folder: str) -> Iterator[ImageRecord]:
        """See `ImageRecordStore`."""
        device, day = _device_and_day(folder)
        if day is None:
            return
        # By the day, not by the beginning of the path: a database's language may ignore the slashes.
        begin = datetime(day.year, day.month, day.day, tzinfo=UTC)
        condition = (
            (DEVICES.c.device_id == device)
            & (IMAGES.c.captured_at >= begin)
            & (IMAGES.c.captured_at < begin + timedelta(days=1))
            & IMAGES.c.deleted_at.is_(None)
        )
        waiting: list[ImageRecord] = []
        for page in self._pages(condition):
            inside = [*waiting, *(record for record in page if record.path.startswith(f"{folder}/"))]
            # Paths begin with the second, so only those of the last one may come after the next page's.
            last = max((_second(record) for record in inside), default=None)
            waiting = [record for record in inside if _second(record) == last]
            yield from _by_path(record for record in inside if _second(record) != last)
        yield from _by_path(waiting)

    def _pages(self, condition: ColumnElement[bool]) -> Iterator[Sequence[ImageRecord]]:
        """The records of the pictures that fit, some at a time, in the order of their moments."""
        place = IMAGES.c.captured_at, IMAGES.c.id
        beyond: ColumnElement[bool] = true()
        while True:
            query = select(*place).join(DEVICES).where(condition, beyond).order_by(*place).limit(_PAGE)
            with self._database.reading() as connection:
                allow_seconds(connection, _DAY_SECONDS)
                rows = connection.execute(query).all()
                page = read_images(connection, IMAGES.c.id.in_([row.id for row in rows]))
            yield page
            if len(rows) < _PAGE:
                return
            moment, number = rows[-1]
            beyond = (place[0] > moment) | (place[0] == moment) & (place[1] > number)

    def committed(self, image_ids: Sequence[UUID], commit_id: str) -> None:
        """See `ImageRecordStore`."""
        with self._database.writing() as connection:
            for some in _parts(image_ids):
                without = IMAGES.c.id.in_(some) & IMAGES.c.lakefs_commit_id.is_(None)
                connection.execute(update(IMAGES).where(without).values(lakefs_commit_id=commit_id))

    def hold(self, task: str, holder: str, seconds: float) -> bool:
        """See `ImageRecordStore`."""
        with self._database.writing() as connection:
            now = database_time(connection, self._clock)
            until = connection.execute(select(now)).scalar_one() + timedelta(seconds=seconds)
            taking = insertion(connection, TASKS).values(task=task, holder=holder, until=until)
            taking = taking.on_conflict_do_update(
                index_elements=[TASKS.c.task],
                set_={"holder": taking.excluded.holder, "until": taking.excluded.until},
                where=(TASKS.c.holder == holder) | (TASKS.c.until <= now),
            )
            return connection.execute(taking.returning(TASKS.c.task)).first() is not None

    def note_metrics(self, moment: datetime, values: Mapping[str, tuple[float, Mapping[str, Any]]]) -> None:
        """See `ImageRecordStore`. What is no finite number is left out."""
        rows = [
            {
                "timestamp": moment,
                "metric_name": plain_text(name)[:_METRIC_NAME],
                "metric_value": number(value),
                "labels": plain_json(labels),
            }
            for name, (value, labels) in values.items()
            if math.isfinite(value)
        ]
        with self._database.writing() as connection:
            if rows:
                connection.execute(insert(METRICS), rows)
            connection.execute(delete(METRICS).where(METRICS.c.timestamp < moment - METRIC_DAYS))

    def close(self) -> None:
        """See `ImageRecordStore`."""
        self._database.close()


def _device(connection: Connection, device_id: str, moment: datetime) -> UUID:
    """The row of a device, which is made where it is new; it was seen at this moment."""
    adding = insertion(connection, DEVICES).values(device_row(device_id, moment))
    seen = DEVICES.c.last_seen
    later = case((seen > literal(moment, UtcTime), seen), else_=adding.excluded.last_seen)
    adding = adding.on_conflict_do_update(index_elements=[DEVICES.c.device_id], set_={"last_seen": later})
    device: UUID = connection.execute(adding.returning(DEVICES.c.id)).scalar_one()
    return device


def _find(connection: Connection, capture: Capture) -> ImageRecord | None:
    of_device = DEVICES.c.device_id == capture.device_id
    if capture.idempotency_key is not None:
        by_key = of_device & (IMAGES.c.idempotency_key == capture.idempotency_key)
        for record in read_images(connection, by_key):
            if record.capture.sha256 != capture.sha256:
                raise KeyReused("the Idempotency-Key was used for another picture: send a key of its own")
            return record
    same = (IMAGES.c.captured_at == capture.captured_at) & (IMAGES.c.sha256 == capture.sha256)
    return next(iter(read_images(connection, of_device & same)), None)


def _standing(connection: Connection, record: ImageRecord) -> ImageRecord:
    """What stands in the way of a record: that of the same hand-in. Raises `PathTaken` for another one."""
    standing = _find(connection, record.capture)
    if standing is not None:
        return standing
    if _path_holder(connection, record.path) is not None:
        raise PathTaken(f"another picture's record has the path {record.path}")
    raise RecordsUnavailable("the record that stood in the way was removed: hand the picture in again")


def _path_holder(connection: Connection, path: str) -> UUID | None:
    return connection.execute(select(IMAGES.c.id).where(IMAGES.c.lakefs_path == path)).scalar_one_or_none()


def _device_and_day(folder: str) -> tuple[str, date | None]:
    """What a folder's name says; no day where it is that of no device's day."""
    root, _, rest = folder.partition("/")
    device, _, day = rest.rpartition("/")
    try:
        return device, date.fromisoformat(day) if root == "images" and device else None
    except ValueError:
        return device, None


def _second(record: ImageRecord) -> datetime:
    return record.capture.captured_at.replace(microsecond=0)


def _by_path(records: Iterable[ImageRecord]) -> list[ImageRecord]:
    return sorted(records, key=lambda record: record.path)


def _parts(ids: Sequence[UUID]) -> Iterator[Sequence[UUID]]:
    for start in range(0, len(ids), _MOST_IDS):
        yield ids[start : start + _MOST_IDS]
