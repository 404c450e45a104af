"""The records as retention reads and changes them: pages by age, tombstones, what is still to be deleted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row, Select, exists, func, select, tuple_, update

from adapters.sql.database import Database
from adapters.sql.dialects import allow_seconds
from adapters.sql.lineage_tables import ANNOTATIONS, DATASETS, DETECTIONS, DEVICES, IMAGES
from lineage.retention import Place, Removal, StorageUse, StoredPicture

#: Seconds for the sum over everything.
_PATIENCE = 60
_STORED = IMAGES.c.deleted_at.is_(None)


class SqlRetention:
    """A `RetentionStore` in SQLite or PostgreSQL."""

    def __init__(self, database: Database) -> None:
        """The database stays the caller's, who closes it."""
        self._database = database

    def use(self) -> StorageUse:
        """See `StoredPages`. Reads an index alone."""
        sums = select(func.count(), func.coalesce(func.sum(IMAGES.c.size_bytes), 0)).where(_STORED)
        with self._database.reading() as connection:
            allow_seconds(connection, _PATIENCE)
            pictures, size = connection.execute(sums).one()
        return StorageUse(pictures, int(size))

    def page(self, after: Place | None, before: datetime | None, limit: int) -> Sequence[StoredPicture]:
        """See `StoredPages`."""
        query = _facts().order_by(IMAGES.c.uploaded_at, IMAGES.c.id).limit(limit)
        if after is not None:
            query = query.where(tuple_(IMAGES.c.uploaded_at, IMAGES.c.id) > after)
        if before is not None:
            query = query.where(IMAGES.c.uploaded_at < before)
        with self._database.reading() as connection:
            return [_picture(row) for row in connection.execute(query)]

    def entomb(
        self, removals: Sequence[Removal], still_goes: Callable[[Removal], bool], moment: datetime
    ) -> Sequence[Removal]:
        """See `RetentionStore`."""
        ids = [each.picture.image_id for each in removals]
        with self._database.writing() as connection:
            # Locked before they are read anew: who flags or annotates a picture locks its row, too.
            locked = select(IMAGES.c.id).where(IMAGES.c.id.in_(ids)).order_by(IMAGES.c.id)
            connection.execute(locked.with_for_update())
            facts = {
                row.id: _picture(row) for row in connection.execute(_facts().where(IMAGES.c.id.in_(ids)))
            }
            now = [replace(each, picture=facts[_id(each)]) for each in removals if _id(each) in facts]
            gone = [each for each in now if still_goes(each)]
            for reason in {each.reason for each in gone}:
                these = [_id(each) for each in gone if each.reason is reason]
                tombstone = {"deleted_at": moment, "deletion_reason": reason.value}
                connection.execute(update(IMAGES).where(IMAGES.c.id.in_(these)).values(tombstone))
        return gone

    def in_removal(self, limit: int) -> Sequence[tuple[UUID, str]]:
        """See `RetentionStore`."""
        noted = IMAGES.c.deleted_at.is_not(None) & IMAGES.c.picture_removed_at.is_(None)
        query = select(IMAGES.c.id, IMAGES.c.lakefs_path).where(noted).order_by(IMAGES.c.deleted_at)
        with self._database.reading() as connection:
            return [(row.id, row.lakefs_path) for row in connection.execute(query.limit(limit))]

    def removed(self, image_ids: Sequence[UUID], moment: datetime) -> None:
        """See `RetentionStore`."""
        these = update(IMAGES).where(IMAGES.c.id.in_(image_ids))
        with self._database.writing() as connection:
            connection.execute(these.values(picture_removed_at=moment))

    def empty_folders(self, folders: Sequence[str]) -> Sequence[str]:
        """See `RetentionStore`."""
        with self._database.reading() as connection:
            return [folder for folder in folders if connection.execute(_any_in(folder)).first() is None]


def _facts() -> Select[Any]:
    """Stored pictures, with what retention asks about each."""
    highest = select(func.max(DETECTIONS.c.confidence)).where(DETECTIONS.c.image_id == IMAGES.c.id)
    return select(
        IMAGES.c.id,
        IMAGES.c.lakefs_path,
        IMAGES.c.uploaded_at,
        IMAGES.c.size_bytes,
        IMAGES.c.is_flagged,
        highest.scalar_subquery().label("confidence"),
        exists().where(ANNOTATIONS.c.image_id == IMAGES.c.id).label("is_annotated"),
        exists().where(DATASETS.c.image_id == IMAGES.c.id).label("is_held"),
    ).where(_STORED)


def _any_in(folder: str) -> Select[Any]:
    """Whether a folder holds a stored picture; by the paths between `folder/` and what sorts behind it."""
    path = IMAGES.c.lakefs_path
    return select(IMAGES.c.id).where(_STORED, path > f"{folder}/", path < f"{folder}0").limit(1)


def _id(removal: Removal) -> UUID:
    return removal.picture.image_id


def _picture(row: Row[Any]) -> StoredPicture:
    return StoredPicture(
        image_id=row.id,
        path=row.lakefs_path,
        accepted_at=row.uploaded_at,
        size=row.size_bytes,
        confidence=row.confidence,
        is_flagged=row.is_flagged,
        is_annotated=bool(row.is_annotated),
        is_held=bool(row.is_held),
    )


@dataclass(frozen=True, slots=True)
class DeviceUse:
    """The stored pictures of a device; the moments are those of acceptance."""

    device: str
    pictures: int
    size: int
    oldest: datetime
    newest: datetime


def device_uses(database: Database) -> Sequence[DeviceUse]:
    """One for each device that has stored pictures, the largest first. Raises `RecordsUnavailable`."""
    size, moment = func.sum(IMAGES.c.size_bytes), IMAGES.c.uploaded_at
    sums = (
        select(DEVICES.c.device_id, func.count(), size, func.min(moment), func.max(moment))
        .join(DEVICES)
        .where(IMAGES.c.deleted_at.is_(None))
        .group_by(DEVICES.c.device_id)
        .order_by(size.desc(), DEVICES.c.device_id)
    )
    with database.reading() as connection:
        allow_seconds(connection, _PATIENCE)
        rows = connection.execute(sums).all()
    return [
        DeviceUse(device, pictures, int(total), oldest, newest)
        for device, pictures, total, oldest, newest in rows
    ]
