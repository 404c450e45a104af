"""The documented queries at a million pictures: fill a database fast, then show plans and times.

    python -m benchmarks.million_images sqlite:////tmp/million.db
    python -m benchmarks.million_images postgresql://… --images 5000000
    python -m benchmarks.million_images postgresql://… --no-fill       # the queries alone

The database is new and empty: its tables are made. The same number of images gives the same rows.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, text

from adapters.sql import named_queries, schema
from adapters.sql.database import RECORDS, Database
from adapters.sql.dialects import allow_seconds, is_postgresql
from adapters.sql.sql_retention import SqlRetention, device_uses
from adapters.sql.sql_verify import SqlRowsByPath

END = datetime(2026, 11, 29, tzinfo=UTC)
DAYS = 90
DEVICES = 50
_BATCH = 10_000
_LABELS = ("blackbird", "robin", "wren", "starling", "sparrow", "magpie", "cat", "squirrel")
#: The columns that are filled, by table, in the order in which the rows can be written.
COLUMNS = {
    "devices": "id device_id created_at",
    "images": "id device_id lakefs_path lakefs_commit_id captured_at uploaded_at width height format "
    "size_bytes processing_status has_detections is_flagged sha256",
    "detections": "id image_id bbox_x1 bbox_y1 bbox_x2 bbox_y2 confidence label model_name model_version "
    "created_at model_digest",
    "inference_sessions": "id image_id started_at completed_at duration_ms model_name model_version "
    "num_detections status model_digest",
}
#: The values of each query, as they are shown in the guide.
QUERIES: dict[str, dict[str, object]] = {
    "recent_detections": {"device": "cam-07", "since": END - timedelta(days=7), "most": 100},
    "confident_pictures": {"confidence": 0.9, "most": 100},
    "daily_summary": {"day_begin": END - timedelta(days=10), "day_end": END - timedelta(days=9)},
}
_MODEL = ("grounding-dino-base", "v3")
_DIGEST = f"sha256:{'3' * 64}"

Rows = dict[str, list[tuple[object, ...]]]


@dataclass(frozen=True, slots=True)
class Kind:
    """How a database takes ids, moments and truth values as they are."""

    uid: Callable[[UUID], object]
    moment: Callable[[datetime], object]
    truth: Callable[[bool], object]


SQLITE = Kind(lambda uid: uid.hex, lambda moment: f"{moment:%Y-%m-%d %H:%M:%S.%f}", int)
POSTGRESQL = Kind(lambda uid: uid, lambda moment: moment, bool)


def batches(images: int, kind: Kind) -> Iterator[Rows]:
    """Rows of so many pictures, in the order in which they were accepted: 90 days of 50 cameras."""
    chance = random.Random(images)
    devices = [UUID(int=chance.getrandbits(128)) for _ in range(DEVICES)]
    begin = END - timedelta(days=DAYS)
    yield {"devices": [(kind.uid(uid), _camera(n), kind.moment(begin)) for n, uid in enumerate(devices)]}
    step = timedelta(days=DAYS) / images
    for first in range(0, images, _BATCH):
        rows: Rows = {name: [] for name in COLUMNS if name != "devices"}
        for number in range(first, min(first + _BATCH, images)):
            device = chance.randrange(DEVICES)
            _picture(rows, kind, chance, begin + number * step, (_camera(device), devices[device]))
        yield rows


def _camera(number: int) -> str:
    return f"cam-{number:02}"


def _picture(
    rows: Rows, kind: Kind, chance: random.Random, moment: datetime, device: tuple[str, UUID]
) -> None:
    """One picture; two of five show something, with one to five detections."""
    camera, device_row = device
    uid = UUID(int=chance.getrandbits(128))
    found = chance.randint(1, 5) if chance.random() < 0.4 else 0
    image, accepted = kind.uid(uid), kind.moment(moment)
    path = f"images/{camera}/{moment:%Y-%m-%d}/{moment:%H-%M-%S}_{uid.hex[:8]}.jpg"
    rows["images"].append(
        (
            *(image, kind.uid(device_row), path, "c" * 64),
            *(kind.moment(moment - timedelta(seconds=chance.random())), accepted),
            *(1920, 1080, "jpg", chance.randint(50_000, 500_000), "completed"),
            *(kind.truth(found > 0), kind.truth(chance.random() < 0.001), f"{chance.getrandbits(256):064x}"),
        )
    )
    for _ in range(found):
        x, y = chance.random() * 0.8, chance.random() * 0.8
        box = (x, y, x + 0.1, y + 0.15)
        about = (chance.betavariate(4, 3), chance.choice(_LABELS), *_MODEL, accepted, _DIGEST)
        rows["detections"].append((kind.uid(UUID(int=chance.getrandbits(128))), image, *box, *about))
    run = kind.uid(UUID(int=chance.getrandbits(128)))
    rows["inference_sessions"].append(
        (run, image, accepted, accepted, 80 + chance.random() * 40, *_MODEL, found, "success", _DIGEST)
    )


def fill(database: Database, images: int) -> None:
    """Write so many pictures with what was found on them, and let the database learn of it."""
    raw: Any = database.engine.raw_connection()
    try:
        is_sqlite = database.engine.dialect.name == "sqlite"
        (_fill_sqlite if is_sqlite else _fill_postgresql)(raw.driver_connection, images)
    finally:
        raw.close()


def _fill_sqlite(connection: Any, images: int) -> None:
    connection.execute("PRAGMA synchronous = OFF")
    connection.execute("PRAGMA cache_size = -1000000")
    for rows in batches(images, SQLITE):
        connection.execute("BEGIN")
        for table, values in rows.items():
            names = COLUMNS[table].split()
            places = ", ".join("?" * len(names))
            connection.executemany(f"INSERT INTO {table} ({', '.join(names)}) VALUES ({places})", values)  # noqa: S608
        connection.execute("COMMIT")
    connection.execute("ANALYZE")
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _fill_postgresql(connection: Any, images: int) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET statement_timeout = 0")
        for rows in batches(images, POSTGRESQL):
            for table, values in rows.items():
                with cursor.copy(f"COPY {table} ({', '.join(COLUMNS[table].split())}) FROM STDIN") as copy:
                    for row in values:
                        copy.write_row(row)
            connection.commit()
        connection.autocommit = True
        cursor.execute("VACUUM (ANALYZE)")


def timed(work: Callable[[], object], times: int = 5) -> tuple[float, float]:
    """Milliseconds of the first time and of the fastest."""
    taken = []
    for _ in range(times):
        began = time.perf_counter()
        work()
        taken.append((time.perf_counter() - began) * 1000)
    return taken[0], min(taken)


def measure(database: Database) -> Iterator[str]:
    """Plans and times, line by line."""
    with database.reading() as connection:
        allow_seconds(connection, 600)
        for name, values in QUERIES.items():
            yield from _measured(connection, name, values)
    retention, paths = SqlRetention(database), SqlRowsByPath(database)
    others: Sequence[tuple[str, Callable[[], object]]] = (
        ("the sum of the sizes", retention.use),
        ("a page of retention", lambda: retention.page(None, None, 500)),
        ("a page of verify", lambda: paths.rows("images/cam-25", 1000)),
        ("use by device", lambda: device_uses(database)),
    )
    for what, work in others:
        first, best = timed(work)
        yield f"{what}: {first:.1f} ms, then {best:.1f} ms"


def _measured(connection: Connection, name: str, values: dict[str, object]) -> Iterator[str]:
    count = len(named_queries.rows(connection, name, **values))
    first, best = timed(lambda: named_queries.rows(connection, name, **values))
    yield f"{name}: {count} rows, {first:.1f} ms, then {best:.1f} ms"
    yield from (f"    {line}" for line in named_queries.plan(connection, name, analyze=True, **values))


def size(database: Database) -> int:
    """Bytes of the database."""
    with database.reading() as connection:
        if is_postgresql(connection):
            return int(connection.execute(text("SELECT pg_database_size(current_database())")).scalar_one())
        pages = connection.execute(text("PRAGMA page_count")).scalar_one()
        return int(pages * connection.execute(text("PRAGMA page_size")).scalar_one())


def main(arguments: Iterable[str]) -> None:
    """Fill the database at a URL, and measure."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("url")
    parser.add_argument("--images", type=int, default=1_000_000)
    parser.add_argument("--no-fill", action="store_true")
    options = parser.parse_args(list(arguments))
    with closing(Database(options.url, RECORDS)) as database:
        if not options.no_fill:
            schema.upgrade(options.url, purpose=RECORDS)
            began = time.perf_counter()
            fill(database, options.images)
            print(f"{options.images:,} images in {time.perf_counter() - began:.0f} s")
        print(f"{size(database) / 1e6:,.0f} MB")
        for line in measure(database):
            print(line)


if __name__ == "__main__":
    main(sys.argv[1:])
