"""The model registry's records in a database."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Row, Select, delete, func, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite

from adapters.sql.change_hints import give_hint
from adapters.sql.database import Database
from adapters.sql.tables import ALIASES, CHANGES, REVISION, SWITCHES, VERSIONS
from registry.entries import By, ChangeRecord, Metadata, RegistryEntry, Status, Switch
from registry.errors import RegistryUnavailable
from registry.model_record import MOVES, Change, ChangeOutcome, ModelRecord, Stamp
from registry.record_store import Pointer, Pointers

#: So many of a model's last changes of production are read for a change: rollbacks return along them.
_MOST_MOVES = 1_000


class SqlRegistry:
    """A `RecordStore` in SQLite or PostgreSQL, whose tables `adapters.sql.schema.upgrade` makes."""

    def __init__(self, url: str) -> None:
        """Connects when it is first asked. Raises `BadRegistryUrl` for another kind of URL."""
        self._database = Database(url)
        self._seen: tuple[int, Pointers] | None = None

    def change(self, name: str, change: Change, by: By) -> ChangeOutcome:
        """See `RecordStore`."""
        return self.change_each([(name, change)], by)[0]

    def change_each(self, changes: Sequence[tuple[str, Change]], by: By) -> list[ChangeOutcome]:
        """See `RecordStore`."""
        outcomes: list[ChangeOutcome] = []
        with self._database.writing() as connection:
            number = first = _locked_revision(connection) + 1
            for name, change in changes:
                before = _record(connection, name)
                outcome = change(before, Stamp(number, datetime.now(UTC), by))
                if outcome.change is not None:
                    _write(connection, before, outcome.record)
                    connection.execute(insert(CHANGES).values(_change_row(outcome.change)))
                    number += 1
                outcomes.append(outcome)
            if number > first:
                connection.execute(update(REVISION).values(number=number - 1))
                give_hint(connection)
        return outcomes

    def record(self, name: str) -> ModelRecord:
        """See `RecordStore`."""
        with self._database.reading() as connection:
            return _record(connection, name)

    def entries(self, name: str | None, status: Status | None, alias: str | None) -> Iterable[RegistryEntry]:
        """See `RecordStore`."""
        query = select(VERSIONS)
        if name is not None:
            query = query.where(VERSIONS.c.model_name == name)
        if status is not None:
            query = query.where(VERSIONS.c.status == status.value)
        if alias is not None:
            meant = select(ALIASES.c.model_name, ALIASES.c.version).where(ALIASES.c.alias == alias).subquery()
            same = (VERSIONS.c.model_name == meant.c.model_name) & (VERSIONS.c.version == meant.c.version)
            query = query.join(meant, same)
        with self._database.reading() as connection:
            return _entries(connection, query, name)

    def history(self, name: str, before: int | None, limit: int) -> tuple[ChangeRecord, ...]:
        """See `RecordStore`."""
        query = select(CHANGES).where(CHANGES.c.model_name == name)
        if before is not None:
            query = query.where(CHANGES.c.number < before)
        with self._database.reading() as connection:
            rows = connection.execute(query.order_by(CHANGES.c.number.desc()).limit(limit)).all()
        return tuple(map(_change_record, rows))

    def changes(self, after: int, limit: int) -> tuple[ChangeRecord, ...]:
        """See `RecordStore`."""
        query = select(CHANGES).where(CHANGES.c.number > after).order_by(CHANGES.c.number).limit(limit)
        with self._database.reading() as connection:
            return tuple(_change_record(row) for row in connection.execute(query))

    def pointers(self) -> Pointers:
        """See `RecordStore`. One row is read while nothing has changed."""
        with self._database.reading() as connection:
            # First: what is read after it may be newer, and then the next look reads it again.
            number = _revision(connection)
            if self._seen is None or self._seen[0] != number:
                self._seen = number, Pointers(str(number), _pointers(connection))
            return self._seen[1]

    def record_switch(self, switch: Switch) -> None:
        """See `RecordStore`."""
        with self._database.writing() as connection:
            kind = postgresql if connection.dialect.name == "postgresql" else sqlite
            row = {name: getattr(switch, name) for name in Switch.model_fields}
            connection.execute(kind.insert(SWITCHES).values(row).on_conflict_do_nothing())

    def switches_at(self, name: str, time: datetime) -> tuple[Switch, ...]:
        """See `RecordStore`."""
        rank = func.row_number().over(
            partition_by=SWITCHES.c.service, order_by=(SWITCHES.c.time.desc(), SWITCHES.c.number.desc())
        )
        fitting = (SWITCHES.c.model_name == name) & (SWITCHES.c.time <= time)
        ranked = select(SWITCHES, rank.label("rank")).where(fitting).subquery()
        with self._database.reading() as connection:
            rows = connection.execute(select(ranked).where(ranked.c.rank == 1)).all()
        return tuple(Switch(**{key: row._mapping[key] for key in Switch.model_fields}) for row in rows)

    def close(self) -> None:
        """Close all connections."""
        self._database.close()


def _revision(connection: Connection) -> int:
    return _present(connection.execute(select(REVISION.c.number)).scalar_one_or_none())


def _locked_revision(connection: Connection) -> int:
    """The number of the last change; no other process changes anything until this transaction ends."""
    # SQLite leaves FOR UPDATE out: its transaction holds the only lock already.
    query = select(REVISION.c.number).with_for_update()
    return _present(connection.execute(query).scalar_one_or_none())


def _present(number: int | None) -> int:
    if number is None:
        raise RegistryUnavailable("the table registry_revision has lost its row: restore the database")
    return number


def _record(connection: Connection, name: str) -> ModelRecord:
    entries = _entries(connection, select(VERSIONS).where(VERSIONS.c.model_name == name), name)
    moves = [action.value for action in MOVES]
    query = select(CHANGES).where(CHANGES.c.model_name == name, CHANGES.c.action.in_(moves))
    rows = connection.execute(query.order_by(CHANGES.c.number.desc()).limit(_MOST_MOVES)).all()
    return ModelRecord(
        name, {one.version: one for one in entries}, tuple(map(_change_record, reversed(rows)))
    )


def _entries(connection: Connection, query: Select[Any], name: str | None) -> list[RegistryEntry]:
    rows = connection.execute(query).all()
    aliases = _aliases(connection, name)
    return [_entry(row, aliases.get((row.model_name, row.version), ())) for row in rows]


def _aliases(connection: Connection, name: str | None) -> Mapping[tuple[str, str], tuple[str, ...]]:
    """The aliases of each version that has some, in the order of the alphabet."""
    query = select(ALIASES).order_by(ALIASES.c.alias)
    found: dict[tuple[str, str], tuple[str, ...]] = {}
    for row in connection.execute(query if name is None else query.where(ALIASES.c.model_name == name)):
        key = (row.model_name, row.version)
        found[key] = (*found.get(key, ()), row.alias)
    return found


def _pointers(connection: Connection) -> Mapping[str, Pointer]:
    query = select(VERSIONS.c.model_name, VERSIONS.c.version).where(VERSIONS.c.status == "production")
    production = {row.model_name: row.version for row in connection.execute(query)}
    aliases: dict[str, dict[str, str]] = {}
    for row in connection.execute(select(ALIASES)):
        aliases.setdefault(row.model_name, {})[row.alias] = row.version
    names = production.keys() | aliases.keys()
    return {name: Pointer(production.get(name), aliases.get(name, {})) for name in names}


def _write(connection: Connection, before: ModelRecord, after: ModelRecord) -> None:
    """Write what differs. What leaves production does so first: the index allows no two at any moment."""
    changed = [one for version, one in after.entries.items() if before.entries.get(version) != one]
    for entry in sorted(changed, key=lambda one: one.status is Status.PRODUCTION):
        if entry.version in before.entries:
            same = (VERSIONS.c.model_name == entry.model_name) & (VERSIONS.c.version == entry.version)
            connection.execute(update(VERSIONS).where(same).values(_row(entry)))
        else:
            connection.execute(insert(VERSIONS).values(_row(entry)))
    _write_aliases(connection, after.name, _meanings(before), _meanings(after))


def _write_aliases(
    connection: Connection, name: str, before: Mapping[str, str], after: Mapping[str, str]
) -> None:
    for alias in [alias for alias, version in before.items() if after.get(alias) != version]:
        connection.execute(delete(ALIASES).where(ALIASES.c.model_name == name, ALIASES.c.alias == alias))
    for alias, version in after.items():
        if before.get(alias) != version:
            connection.execute(insert(ALIASES).values(model_name=name, alias=alias, version=version))


def _meanings(record: ModelRecord) -> Mapping[str, str]:
    return {alias: one.version for one in record.entries.values() for alias in one.aliases}


def _row(entry: RegistryEntry) -> dict[str, object]:
    return {
        "model_name": entry.model_name,
        "version": entry.version,
        "path": entry.path,
        "status": entry.status.value,
        "creation_timestamp": entry.creation_timestamp,
        "description": entry.metadata.description,
        "metrics": dict(entry.metadata.metrics),
        "tags": dict(entry.tags),
        "digest": entry.digest,
    }


def _entry(row: Row[Any], aliases: tuple[str, ...]) -> RegistryEntry:
    """What was checked when it was written, and by the database's own rules, is not checked again."""
    return RegistryEntry.model_construct(
        model_name=row.model_name,
        version=row.version,
        path=row.path,
        status=Status(row.status),
        creation_timestamp=row.creation_timestamp,
        metadata=Metadata.model_construct(description=row.description, metrics=row.metrics),
        digest=row.digest,
        aliases=aliases,
        tags=row.tags,
    )


def _change_row(change: ChangeRecord) -> dict[str, object]:
    """A record's fields as they are inside: versions as text."""
    return {name: getattr(change, name) for name in ChangeRecord.model_fields}


def _change_record(row: Row[Any]) -> ChangeRecord:
    return ChangeRecord(**row._mapping)
