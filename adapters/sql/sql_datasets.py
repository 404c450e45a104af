"""Data sets in `dataset_images`, and the pictures they are made from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Connection, Row, Select, and_, delete, func, select, true, tuple_

from adapters.sql.database import Database
from adapters.sql.dialects import allow_seconds, insertion
from adapters.sql.lineage_tables import DATASETS, DETECTIONS, DEVICES, IMAGES
from lineage.datasets import ChosenPicture, LabelledBox, PictureQuery, checked_name

#: Pictures of one page, and seconds that it may take: few may fit among millions.
_PAGE = 200
_PATIENCE = 120
_ORDER = (IMAGES.c.uploaded_at, IMAGES.c.id)


class SqlDatasets:
    """`Datasets` in SQLite or PostgreSQL."""

    def __init__(self, database: Database) -> None:
        """The database stays the caller's, who closes it."""
        self._database = database

    def pictures(self, query: PictureQuery) -> Iterator[ChosenPicture]:
        """See `Datasets`."""
        after: tuple[datetime, UUID] | None = None
        while page := self._page(query, after):
            yield from (picture for picture, _ in page)
            after = page[-1][1]

    def _page(
        self, query: PictureQuery, after: tuple[datetime, UUID] | None
    ) -> list[tuple[ChosenPicture, tuple[datetime, UUID]]]:
        chosen = _chosen(query).order_by(*_ORDER).limit(_PAGE)
        if after is not None:
            chosen = chosen.where(tuple_(*_ORDER) > after)
        with self._database.reading() as connection:
            allow_seconds(connection, _PATIENCE)
            rows = connection.execute(chosen).all()
            boxes = _boxes(connection, query, [row.id for row in rows])
        return [(_picture(row, boxes.get(row.id, ())), (row.uploaded_at, row.id)) for row in rows]

    def hold(self, name: str, image_ids: Sequence[UUID], moment: datetime) -> frozenset[UUID]:
        """See `Datasets`."""
        dataset = checked_name(name)
        stored = select(IMAGES.c.id).where(IMAGES.c.id.in_(image_ids), IMAGES.c.deleted_at.is_(None))
        with self._database.writing() as connection:
            # Locked in one order, so that a clean-up with these pictures waits, and looks again then.
            locked = stored.order_by(IMAGES.c.id).with_for_update(read=True)
            held = frozenset(connection.execute(locked).scalars())
            rows = [{"dataset": dataset, "image_id": each, "added_at": moment} for each in sorted(held)]
            if rows:
                connection.execute(insertion(connection, DATASETS).on_conflict_do_nothing(), rows)
        return held

    def release(self, name: str) -> int:
        """See `Datasets`."""
        with self._database.writing() as connection:
            return connection.execute(delete(DATASETS).where(DATASETS.c.dataset == name)).rowcount

    def sizes(self) -> Mapping[str, int]:
        """See `Datasets`."""
        counts = select(DATASETS.c.dataset, func.count().label("size")).group_by(DATASETS.c.dataset)
        with self._database.reading() as connection:
            return {row.dataset: row.size for row in connection.execute(counts.order_by(DATASETS.c.dataset))}


def _chosen(query: PictureQuery) -> Select[Any]:
    """The stored pictures that fit."""
    conditions: list[ColumnElement[bool]] = [IMAGES.c.deleted_at.is_(None)]
    if query.device is not None:
        conditions.append(DEVICES.c.device_id == query.device)
    if query.since is not None:
        conditions.append(IMAGES.c.captured_at >= query.since)
    if query.until is not None:
        conditions.append(IMAGES.c.captured_at < query.until)
    if query.is_flagged is not None:
        conditions.append(IMAGES.c.is_flagged.is_(query.is_flagged))
    if query.label is not None or query.least_confidence is not None:
        conditions.append(
            select(DETECTIONS.c.id).where(_fitting(query), DETECTIONS.c.image_id == IMAGES.c.id).exists()
        )
    return select(IMAGES, DEVICES.c.device_id.label("device")).join(DEVICES).where(*conditions)


def _fitting(query: PictureQuery) -> ColumnElement[bool]:
    """The detections that fit."""
    conditions: list[ColumnElement[bool]] = [true()]
    if query.label is not None:
        conditions.append(DETECTIONS.c.label == query.label)
    if query.least_confidence is not None:
        conditions.append(DETECTIONS.c.confidence >= query.least_confidence)
    return and_(*conditions)


def _boxes(
    connection: Connection, query: PictureQuery, image_ids: Sequence[UUID]
) -> dict[UUID, tuple[LabelledBox, ...]]:
    """The detections that fit, of each picture, the most certain first."""
    these = select(DETECTIONS).where(DETECTIONS.c.image_id.in_(image_ids), _fitting(query))
    found: dict[UUID, tuple[LabelledBox, ...]] = {}
    for row in connection.execute(these.order_by(DETECTIONS.c.confidence.desc(), DETECTIONS.c.id)):
        found[row.image_id] = (*found.get(row.image_id, ()), _box(row))
    return found


def _box(row: Row[Any]) -> LabelledBox:
    return LabelledBox(
        detection_id=row.id,
        label=row.label,
        confidence=row.confidence,
        bbox=(row.bbox_x1, row.bbox_y1, row.bbox_x2, row.bbox_y2),
        model_name=row.model_name,
        model_version=row.model_version,
        model_digest=row.model_digest,
    )


def _picture(row: Row[Any], boxes: tuple[LabelledBox, ...]) -> ChosenPicture:
    return ChosenPicture(
        image_id=row.id,
        device=row.device,
        path=row.lakefs_path,
        captured_at=row.captured_at,
        width=row.width,
        height=row.height,
        sha256=row.sha256,
        boxes=boxes,
    )
