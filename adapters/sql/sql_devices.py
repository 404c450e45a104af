"""Devices and their tokens in a database."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID

from sqlalchemy import ColumnElement, Connection, case, delete, func, insert, literal, or_, select, update

from adapters.sql.database import Database
from adapters.sql.dialects import insertion
from adapters.sql.image_rows import device_row
from adapters.sql.lineage_tables import DEVICES, TOKENS
from adapters.sql.tables import UtcTime
from hotswap.errors import BadRequest, Conflict
from lineage.devices import SEEN_EVERY, DeviceEntry, IssuedTokens, TokenHolder, check_device_id


class SqlDevices:
    """A `DeviceStore` in the database of the records."""

    def __init__(self, database: Database) -> None:
        """`database` stays its opener's, who closes it."""
        self._database = database

    def add(self, device_id: str, name: str | None, hashed: str, moment: datetime) -> None:
        """See `DeviceStore`."""
        row = device_row(check_device_id(device_id), moment) | {"name": name, "last_seen": None}
        with self._database.writing() as connection:
            connection.execute(insertion(connection, DEVICES).values(row).on_conflict_do_nothing())
            device = _locked(connection, device_id)
            of_device = TOKENS.c.device_id == device
            if connection.execute(select(TOKENS.c.token_hash).where(of_device & _valid(moment))).first():
                raise Conflict(f"device {device_id} has a token: `okawari device rotate` gives another one")
            if name is not None:
                connection.execute(update(DEVICES).where(DEVICES.c.id == device).values(name=name))
            _add_token(connection, device, hashed, moment)

    def devices(self, moment: datetime) -> Sequence[DeviceEntry]:
        """See `DeviceStore`."""
        valid = func.count(case((_valid(moment), TOKENS.c.token_hash)))
        columns = [
            DEVICES.c[name] for name in ("device_id", "name", "created_at", "last_seen", "disabled_at")
        ]
        query = select(*columns, valid).select_from(DEVICES.outerjoin(TOKENS)).group_by(DEVICES.c.id)
        with self._database.reading() as connection:
            rows = connection.execute(query).all()
        return sorted((DeviceEntry(*row) for row in rows), key=lambda one: one.device_id)

    def rotate(self, device_id: str, hashed: str, moment: datetime, grace: timedelta) -> datetime | None:
        """See `DeviceStore`."""
        with self._database.writing() as connection:
            device = _locked(connection, device_id)
            of_device, end = TOKENS.c.device_id == device, moment + grace
            connection.execute(delete(TOKENS).where(of_device & ~_valid(moment)))
            longer = TOKENS.c.expires_at.is_(None) | (TOKENS.c.expires_at > end)
            connection.execute(update(TOKENS).where(of_device & longer).values(expires_at=end))
            last = connection.execute(select(func.max(TOKENS.c.expires_at)).where(of_device)).scalar_one()
            _add_token(connection, device, hashed, moment)
        return last if isinstance(last, datetime) else None

    def disable(self, device_id: str, moment: datetime) -> None:
        """See `DeviceStore`."""
        self._set_disabled(device_id, moment)

    def enable(self, device_id: str) -> None:
        """See `DeviceStore`."""
        self._set_disabled(device_id, None)

    def _set_disabled(self, device_id: str, moment: datetime | None) -> None:
        with self._database.writing() as connection:
            device = _locked(connection, device_id)
            connection.execute(update(DEVICES).where(DEVICES.c.id == device).values(disabled_at=moment))

    def tokens(self) -> IssuedTokens:
        """See `DeviceStore`."""
        issued = select(TOKENS.c.token_hash, DEVICES.c.device_id, TOKENS.c.expires_at).join(DEVICES)
        disabled = select(DEVICES.c.device_id).where(DEVICES.c.disabled_at.is_not(None))
        with self._database.reading() as connection:
            holders = {row[0]: TokenHolder(*row) for row in connection.execute(issued)}
            return IssuedTokens(holders, frozenset(connection.execute(disabled).scalars()))

    def seen(self, moments: Mapping[str, datetime]) -> None:
        """See `DeviceStore`."""
        with self._database.writing() as connection:
            # In one order everywhere: two services that write the same rows must not wait for each other.
            for device_id, moment in sorted(moments.items()):
                before = DEVICES.c.last_seen
                due = or_(before.is_(None), before <= literal(moment - SEEN_EVERY, UtcTime))
                same = DEVICES.c.device_id == device_id
                connection.execute(update(DEVICES).where(same & due).values(last_seen=moment))


def _locked(connection: Connection, device_id: str) -> UUID:
    """The row of a device, which nobody else changes until this transaction ends."""
    query = select(DEVICES.c.id).where(DEVICES.c.device_id == device_id).with_for_update()
    device: UUID | None = connection.execute(query).scalar_one_or_none()
    if device is None:
        raise BadRequest(f"there is no device {device_id[:110]!r}: `okawari device list` shows all")
    return device


def _valid(moment: datetime) -> ColumnElement[bool]:
    return TOKENS.c.expires_at.is_(None) | (TOKENS.c.expires_at > literal(moment.astimezone(UTC), UtcTime))


def _add_token(connection: Connection, device: UUID, hashed: str, moment: datetime) -> None:
    row = {"token_hash": hashed, "device_id": device, "created_at": moment, "expires_at": None}
    connection.execute(insert(TOKENS).values(row))
