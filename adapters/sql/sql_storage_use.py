"""What is stored, by device: for people who ask what fills the storage."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select

from adapters.sql.database import Database
from adapters.sql.dialects import allow_seconds
from adapters.sql.lineage_tables import DEVICES, IMAGES

#: Seconds that the sums over all pictures may take.
_PATIENCE = 120


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
