"""The audit log in the registry's database: append-only, for all services that share it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

from sqlalchemy import Connection, Row, func, insert, select

from adapters.sql.database import Database
from adapters.sql.tables import AUDIT
from registry.audit import LONGEST, AuditDamaged, Chain, Damaged, Record, parsed

#: The number of the lock that appending holds in PostgreSQL: the letters "okawar".
_LOCK = 0x6F6B61776172
#: Records that are read in one step.
_PAGE = 200


class SqlAudit:
    """An `AuditStore` in SQLite or PostgreSQL. Its place among the others is `position`, not `sequence`.

    Raises `RegistryUnavailable` where the database is away or lacks its tables.
    """

    def __init__(self, url: str) -> None:
        """Connects when it is first asked. Raises `BadRegistryUrl` for another kind of URL."""
        self._database = Database(url)

    @property
    def name(self) -> str:
        """The database, without password."""
        return self._database.name

    def append(self, chain: Chain) -> Sequence[Record]:
        """See `AuditStore`."""
        with self._database.writing() as connection:
            _lock(connection)
            row = next(_rows(connection, newest=1), None)
            last = parsed(row.record) if row else None
            if isinstance(last, Damaged):
                raise AuditDamaged(
                    f"the audit log in {self._database.name} is damaged at its end ({last.why}): look at it "
                    "with `okawari audit --verify`; `okawari db downgrade 0002` removes it, `okawari db "
                    "upgrade` starts a new one"
                )
            records = chain(last, partial(_is_known, connection))
            if records:
                connection.execute(insert(AUDIT), _values(records, after=row.position if row else 0))
        return records

    def read(self, start: int = 1) -> Iterator[Record | Damaged]:
        """See `AuditStore`; a place is that of a row, counted from the first one that is there."""
        with self._database.reading() as connection:
            places = select(AUDIT.c.position).order_by(AUDIT.c.position)
            position = connection.execute(places.offset(start - 1).limit(1)).scalar_one_or_none()
        while position is not None:
            with self._database.reading() as connection:
                rows = list(_rows(connection, start=position))
            yield from (parsed(row.record) for row in rows)
            position = rows[-1].position + 1 if len(rows) == _PAGE else None

    def last(self) -> Record | None:
        """See `AuditStore`."""
        with self._database.reading() as connection:
            entries = [parsed(row.record) for row in _rows(connection, newest=10)]
        return next((entry for entry in entries if isinstance(entry, Record)), None)

    def close(self) -> None:
        """Close all connections."""
        self._database.close()


def _lock(connection: Connection) -> None:
    """Let nobody else append before this transaction ends; SQLite's has locked the whole file already."""
    if connection.dialect.name == "postgresql":
        # A lock by number: that of the table needs the right to change its rows.
        connection.execute(select(func.pg_advisory_xact_lock(_LOCK)))


def _rows(connection: Connection, start: int = 0, newest: int = 0) -> Iterator[Row[tuple[int, str]]]:
    """A page of rows from a position on, or the newest ones, the last first."""
    text = func.substr(AUDIT.c.record, 1, LONGEST).label("record")
    query = select(AUDIT.c.position, text)
    if newest:
        return iter(connection.execute(query.order_by(AUDIT.c.position.desc()).limit(newest)))
    following = query.where(AUDIT.c.position >= start).order_by(AUDIT.c.position)
    return iter(connection.execute(following.limit(_PAGE)))


def _is_known(connection: Connection, source: str) -> bool:
    return connection.execute(select(AUDIT.c.position).where(AUDIT.c.source == source)).first() is not None


def _values(records: Sequence[Record], after: int) -> list[dict[str, object]]:
    return [
        {"position": position, "source": record.source, "record": record.text().decode()}
        for position, record in enumerate(records, after + 1)
    ]
