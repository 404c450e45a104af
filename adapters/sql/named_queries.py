"""The documented queries over the records, each in a file of its own under `queries/`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Row, TextClause, bindparam, text

from adapters.sql.tables import UtcTime

FOLDER = Path(__file__).parent / "queries"
_COMMENT = re.compile(r"^--.*$", re.MULTILINE)


def names() -> Sequence[str]:
    """The queries that there are."""
    return sorted(file.stem for file in FOLDER.glob("*.sql"))


def rows(connection: Connection, name: str, **values: object) -> Sequence[Row[Any]]:
    """What a query gives."""
    return connection.execute(_statement(name, values)).all()


def plan(connection: Connection, name: str, *, analyze: bool = False, **values: object) -> list[str]:
    """How the database carries a query out, line by line; with `analyze` PostgreSQL does so, and measures."""
    if connection.dialect.name == "sqlite":
        lines = connection.execute(_statement(name, values, "EXPLAIN QUERY PLAN "))
        return [str(line[3]) for line in lines]
    how = "EXPLAIN (ANALYZE, BUFFERS) " if analyze else "EXPLAIN "
    return [str(line[0]) for line in connection.execute(_statement(name, values, how))]


def _statement(name: str, values: Mapping[str, object], prefix: str = "") -> TextClause:
    """A query with its values; moments are bound as the columns keep them."""
    query = _COMMENT.sub("", (FOLDER / f"{name}.sql").read_text()).strip()
    bound = [
        bindparam(key, value, UtcTime if isinstance(value, datetime) else None)
        for key, value in values.items()
    ]
    return text(prefix + query).bindparams(*bound)
