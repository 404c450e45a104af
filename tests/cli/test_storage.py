"""`storage`, `db verify`, `annotate`, `flag`: over records in SQLite and pictures in a folder."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import pytest

from adapters.picture_stores import open_pictures
from adapters.records import open_records
from adapters.sql.database import Database
from adapters.sql.sql_annotations import SqlAnnotations
from adapters.sql.sql_datasets import SqlDatasets
from lineage.annotations import AnnotationType
from lineage.picture_store import PictureStore
from tests.cli.conftest import Okawari
from tests.support.archive import NOW, Picture, fill, stored

#: The commands go by the clock of today.
_PASSED = (datetime.now(UTC) - NOW) / timedelta(days=1)
OLD = Picture("old", days=100 - _PASSED)
FOUND = Picture("found", days=100 - _PASSED, found=(0.9,), device="cam-2")
NEW = Picture("new", days=2 - _PASSED, found=(0.4,))


@pytest.fixture
def database(home: Path) -> Iterator[Database]:
    """The records of the home."""
    with closing(open_records(f"sqlite:///{home}/records.db")) as records:
        yield records.database


@pytest.fixture
def pictures(home: Path) -> PictureStore:
    """The pictures of the home."""
    return open_pictures(home / "pictures")


@pytest.fixture
def archive(database: Database, pictures: PictureStore) -> None:
    """Three pictures, of which one is too old."""
    fill(database, [OLD, FOUND, NEW], pictures)


@pytest.mark.usefixtures("archive")
def test_what_is_stored(okawari: Okawari, database: Database) -> None:
    SqlDatasets(database).hold("nests", [NEW.id], NOW)
    said = json.loads(okawari("storage", "--json").stdout)
    assert said["used_bytes"] == 300
    assert [(use["device"], use["pictures"], use["size"]) for use in said["devices"]] == [
        ("cam-1", 2, 200),
        ("cam-2", 1, 100),
    ]
    assert (said["datasets"], said["most_bytes"]) == ({"nests": 1}, 100_000_000_000)
    text = okawari("storage").stdout
    assert "cam-2" in text
    assert "data set nests" in text


@pytest.mark.usefixtures("archive")
def test_a_dry_run_lists_and_changes_nothing(okawari: Okawari, database: Database) -> None:
    said = okawari("storage", "clean", "--dry-run").stdout
    assert OLD.path in said
    assert FOUND.path not in said
    assert len(stored(database)) == 3


@pytest.mark.usefixtures("archive")
def test_a_cleanup_asks_unless_it_is_told(
    okawari: Okawari, database: Database, pictures: PictureStore
) -> None:
    okawari("storage", "clean", exit_code=1)  # nobody answers
    assert len(stored(database)) == 3
    okawari("storage", "clean", "--yes")
    assert stored(database) == {FOUND.id, NEW.id}
    assert {each.path for each in pictures.objects()} == {FOUND.path, NEW.path}
    okawari("db", "verify")


@pytest.mark.slow
@pytest.mark.usefixtures("archive")
def test_a_data_set_is_released(okawari: Okawari, database: Database) -> None:
    SqlDatasets(database).hold("nests", [OLD.id], NOW)
    okawari("storage", "clean", "--yes")
    assert OLD.id in stored(database)
    okawari("storage", "release", "nests")
    okawari("storage", "release", "nests", exit_code=1)
    okawari("storage", "clean", "--yes")
    assert OLD.id not in stored(database)


@pytest.mark.usefixtures("archive")
def test_verify_says_what_does_not_agree(okawari: Okawari, pictures: PictureStore) -> None:
    assert "all agree" in okawari("db", "verify").stdout
    pictures.delete([NEW.path])
    pictures.replace(OLD.path, OLD.content[::-1])
    said = json.loads(okawari("db", "verify", "--json", exit_code=1).stdout)
    assert said["faults"] == {"missing picture": 1, "wrong hash": 1}
    assert {each["path"] for each in said["findings"]} == {NEW.path, OLD.path}
    said = json.loads(okawari("db", "verify", "--json", "--no-hashes", "--limit", 0, exit_code=1).stdout)
    assert (said["faults"], said["findings"]) == ({"missing picture": 1}, [])
    assert str(NEW.id) in okawari("db", "verify", exit_code=1).stdout


def test_without_records_or_pictures_nothing_is_made(okawari: Okawari, home: Path) -> None:
    okawari("storage", exit_code=1)
    assert not (home / "records.db").exists()
    open_records(f"sqlite:///{home}/records.db").close()
    okawari("db", "verify", exit_code=1)
    assert not (home / "pictures").exists()


@pytest.mark.usefixtures("archive")
def test_an_answer_is_annotated(okawari: Okawari, database: Database) -> None:
    detection = FOUND.detection(0)
    okawari("annotate", FOUND.id, "--type", "wrong_label", "--detection", detection, "--label", "robin")
    okawari("annotate", FOUND.id, "--type", "missed_detection", "--bbox", "0.1,0.2,0.3,0.4", "--by", "ann")
    first, second = SqlAnnotations(database).of(FOUND.id)
    assert (first.type, first.label, first.detection_id) == (AnnotationType.WRONG_LABEL, "robin", detection)
    assert (second.bbox, second.annotator) == ((0.1, 0.2, 0.3, 0.4), "ann")


@pytest.mark.usefixtures("archive")
@pytest.mark.parametrize(
    "options",
    [
        (FOUND.id, "--type", "false_positive"),
        (NEW.id, "--type", "false_positive", "--detection", FOUND.detection(0)),
        (FOUND.id, "--type", "incorrect_bbox", "--detection", FOUND.detection(0)),
        (FOUND.id, "--type", "missed_detection", "--bbox", "0.5,0.2,0.3,0.4"),
        (FOUND.id, "--type", "missed_detection", "--bbox", "nan,0.2,0.3,0.4"),
        (uuid4(), "--type", "missed_detection"),
    ],
)
def test_what_cannot_be_meant_is_refused(
    okawari: Okawari, database: Database, options: tuple[object]
) -> None:
    okawari("annotate", *options, exit_code=1)
    assert SqlAnnotations(database).of(FOUND.id) == []


@pytest.mark.slow
@pytest.mark.usefixtures("archive")
def test_a_flag_keeps_an_old_picture(okawari: Okawari, database: Database) -> None:
    okawari("flag", OLD.id)
    okawari("storage", "clean", "--yes")
    assert OLD.id in stored(database)
    okawari("flag", OLD.id, "--off")
    okawari("storage", "clean", "--yes")
    assert OLD.id not in stored(database)
    okawari("flag", uuid4(), exit_code=1)
