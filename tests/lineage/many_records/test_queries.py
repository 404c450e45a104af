"""The documented queries: what they give, and by which index, on both databases."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from sqlalchemy import text

from adapters.sql import named_queries
from adapters.sql.database import Database
from benchmarks.million_images import END, QUERIES, batches, fill
from benchmarks.million_images import SQLITE as SQLITE_FORM
from tests.support import archive
from tests.support.archive import NOW, Picture, tell

#: Enough that an index pays.
IMAGES = 20_000
#: The index that each query is meant to go by.
INDEXES = {
    "recent_detections": {"images_device_captured", "detections_image"},
    "confident_pictures": {"detections_confidence"},
    "daily_summary": {"images_device_captured", "detections_image"},
}


@pytest.fixture
def filled(database: Database) -> Database:
    """A database with some pictures of three cameras."""
    pictures = [
        Picture("a", days=0.1, found=(0.95, 0.5)),
        Picture("b", days=0.2, found=(0.7,), label="cat"),
        Picture("c", days=3),
        Picture("d", days=0.3, device="cam-2", status="failed"),
        Picture("e", days=0.1, found=(0.85, 0.9), device="cam-2"),
        Picture("f", days=40, found=(0.99,), device="cam-3"),
    ]
    archive.fill(database, pictures)
    return database


def _rows(database: Database, name: str, **values: object) -> list[tuple[object, ...]]:
    with database.reading() as connection:
        return [tuple(row) for row in named_queries.rows(connection, name, **values)]


def test_every_query_is_tried_here() -> None:
    assert set(named_queries.names()) == INDEXES.keys() == QUERIES.keys()


@pytest.mark.parametrize("name", named_queries.names())
def test_every_query_says_its_name_and_its_values(name: str) -> None:
    sql = (named_queries.FOLDER / f"{name}.sql").read_text()
    assert sql.startswith(f"-- {name}: ")
    comment = "\n".join(line for line in sql.splitlines() if line.startswith("--"))
    rest = "\n".join(line for line in sql.splitlines() if not line.startswith("--"))
    values = set(re.findall(r"(?<!:):(\w+)", rest))
    assert values == QUERIES[name].keys()
    assert all(f"-- :{value} " in comment for value in values)


def test_the_recent_detections_of_a_device(filled: Database) -> None:
    values = {"device": "cam-1", "since": NOW - timedelta(days=1), "most": 10}
    found = _rows(filled, "recent_detections", **values)
    assert [(row[4], round(float(str(row[5])), 2)) for row in found] == [
        ("bird", 0.95),
        ("bird", 0.5),
        ("cat", 0.7),
    ]
    assert len(_rows(filled, "recent_detections", **(values | {"most": 1}))) == 1
    assert _rows(filled, "recent_detections", **(values | {"device": "cam-9"})) == []


def test_the_most_confident_pictures_once_each_and_without_removed_ones(filled: Database) -> None:
    found = _rows(filled, "confident_pictures", confidence=0.8, most=10)
    assert [round(float(str(row[4])), 2) for row in found] == [0.99, 0.95, 0.9]
    tell(
        filled,
        "UPDATE images SET deleted_at = uploaded_at WHERE id IN (SELECT image_id FROM detections "
        "WHERE confidence > 0.97)",
    )
    assert len(_rows(filled, "confident_pictures", confidence=0.8, most=10)) == 2


def test_the_summary_of_a_day_has_every_device(filled: Database) -> None:
    found = _rows(filled, "daily_summary", day_begin=NOW - timedelta(days=1), day_end=NOW)
    assert [row[:5] for row in found] == [("cam-1", 2, 2, 0, 3), ("cam-2", 2, 1, 1, 2), ("cam-3", 0, 0, 0, 0)]
    assert found[2][5] is None


@pytest.mark.slow
def test_each_query_goes_by_its_index(database: Database) -> None:
    fill(database, IMAGES)
    for name, values in QUERIES.items():
        with database.reading() as connection:
            plan = "\n".join(named_queries.plan(connection, name, **values))
        used = {index for index in INDEXES[name] if re.search(rf"\b{index}\b", plan)}
        assert used == INDEXES[name], plan


def test_the_same_number_gives_the_same_rows() -> None:
    assert [*batches(500, SQLITE_FORM)] == [*batches(500, SQLITE_FORM)]
    assert END.tzinfo is not None


def test_paths_sort_by_their_bytes(database: Database, is_sqlite: bool) -> None:
    if is_sqlite:
        pytest.skip("SQLite compares bytes")
    with database.reading() as connection:
        collation = connection.execute(
            text(
                "SELECT collation_name FROM information_schema.columns "
                "WHERE table_name = 'images' AND column_name = 'lakefs_path'"
            )
        ).scalar_one()
    assert collation == "C"
