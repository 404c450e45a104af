"""Audit logs for tests, and the lines of their files."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, delete, insert, select, text

from adapters.registries import AuditPlace
from adapters.sql.database import Database
from adapters.sql.sql_audit import SqlAudit
from adapters.sql.tables import AUDIT
from registry.audit import AuditedDecision, AuditLog, AuditStore, Head, Record, canonical
from registry.audit_check import verify
from registry.audit_file import AuditFile
from registry.audit_key import AuditKey, fingerprint, read_public

_open: list[SqlAudit] = []


def close_all() -> None:
    """Close the databases that were opened."""
    while _open:
        _open.pop().close()


@dataclass(frozen=True)
class Place:
    """A log beside its key: in a file of the folder, or in the table of a database."""

    folder: Path
    url: str | None = None

    @cached_property
    def store(self) -> AuditStore:
        if self.url is None:
            return AuditFile(self.folder)
        _open.append(SqlAudit(self.url))
        return _open[-1]


def place_of(place: Path | Place) -> Place:
    return Place(place) if isinstance(place, Path) else place


def opened(place: Path | Place) -> AuditLog:
    """The log of a place, as each process of a service opens it."""
    place = place_of(place)
    return AuditLog(place.store, AuditKey(place.folder))


def switch(number: int, **more: Any) -> AuditedDecision:
    """A decision with its own source."""
    facts = {"model": "m", "actor": "ann", "before": f"v{number}", "after": f"v{number + 1}"}
    return AuditedDecision("switch", **{**facts, "source": f"switch/m/{number}", **more})


def verified(place: Path | Place, *heads: Head) -> Head:
    """The head of a log that is whole; raises `Tampered`."""
    place = place_of(place)
    return _verified(place.store, AuditKey(place.folder), *heads)


def verified_beside(place: AuditPlace) -> Head:
    """The same for the log beside a registry."""
    return _verified(place.store, place.key)


def _verified(store: AuditStore, key: AuditKey, *heads: Head) -> Head:
    public = read_public(key.public_path)
    kept = key.kept()
    known = [Head(kept.sequence, kept.hash)] if kept else []
    return verify(store, {fingerprint(public): public}, [*heads, *known])


def lines_of(place: Path | Place) -> list[bytes]:
    """The records as text; that with sequence number n has the index n - 1."""
    place = place_of(place)
    if place.url is None:
        return AuditFile(place.folder).path.read_bytes().splitlines(keepends=True)
    with _changing(place.url) as connection:
        rows = connection.execute(select(AUDIT.c.record).order_by(AUDIT.c.position)).scalars()
        return [row.encode() + b"\n" for row in rows]


def rewrite(place: Path | Place, lines: list[bytes]) -> None:
    """What a tamperer does."""
    place = place_of(place)
    if place.url is None:
        AuditFile(place.folder).path.write_bytes(b"".join(lines))
        return
    with _changing(place.url) as connection:
        connection.execute(delete(AUDIT))
        texts = [line.removesuffix(b"\n").decode(errors="replace") for line in lines]
        if texts:
            connection.execute(
                insert(AUDIT), [{"position": place, "record": text} for place, text in enumerate(texts, 1)]
            )


@contextmanager
def _changing(url: str) -> Iterator[Connection]:
    """A transaction of somebody who may take the triggers away."""
    database = Database(url)
    with database.writing() as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(text("DROP TRIGGER IF EXISTS audit_records_append_only ON audit_records"))
        else:
            for what in ("update", "delete"):
                connection.execute(text(f"DROP TRIGGER IF EXISTS audit_records_no_{what}"))
        yield connection
    database.close()


def edited(line: bytes, **fields: object) -> bytes:
    """The line with other content and the hash that it had."""
    return canonical(json.loads(line) | fields) + b"\n"


def forged(line: bytes, **fields: object) -> bytes:
    """The line with other content and the hash of that."""
    return canonical(Record.model_validate(json.loads(line) | fields).sealed().model_dump()) + b"\n"


def append_until_killed(place: Place, name: str, acknowledged: int) -> None:
    """Append for ever; each number is written to a pipe when the log has it."""
    log, number = opened(place), 0
    while True:
        record = log.record(
            AuditedDecision("switch", model=name, reason="x" * 900, source=f"{name}/{number}")
        )
        assert record is not None
        os.write(acknowledged, b"%d\n" % record.sequence)
        number += 1
