"""The notebook workflow: from a query to pictures with boxes and lineage, held against retention."""

from __future__ import annotations

import csv
import json
from datetime import timedelta
from pathlib import Path

import pytest

from adapters.picture_stores import open_pictures
from adapters.sql.database import Database
from adapters.sql.sql_datasets import SqlDatasets
from adapters.sql.sql_retention import SqlRetention
from examples.dataset import COLUMNS, Export, main
from hotswap.errors import BadRequest
from lineage.datasets import PictureQuery
from lineage.picture_store import PictureStore
from tests.support.archive import NOW, Picture, fill, tell

ARCHIVE = [
    Picture("bird", days=5, found=(0.9, 0.4)),
    Picture("unsure", days=4, found=(0.5,)),
    Picture("cat", days=3, found=(0.95,), label="cat", device="cam-2"),
    Picture("empty", days=2, is_flagged=True),
    Picture("old bird", days=50, found=(0.85,), device="cam-2"),
]
QUERIES = [
    (PictureQuery(), {"bird", "unsure", "cat", "empty", "old bird"}),
    (PictureQuery(label="bird"), {"bird", "unsure", "old bird"}),
    (PictureQuery(label="bird", least_confidence=0.8), {"bird", "old bird"}),
    (PictureQuery(least_confidence=0.92), {"cat"}),
    (PictureQuery(device="cam-2"), {"cat", "old bird"}),
    (PictureQuery(since=NOW - timedelta(days=4), until=NOW - timedelta(days=2)), {"unsure", "cat"}),
    (PictureQuery(is_flagged=True), {"empty"}),
    (PictureQuery(device="cam-9"), set()),
]
NAMES = {each.id: each.name for each in ARCHIVE}


@pytest.fixture
def folder(database: Database, tmp_path: Path) -> PictureStore:
    """The pictures of the archive, in a folder."""
    store = open_pictures(tmp_path / "pictures")
    fill(database, ARCHIVE, store)
    return store


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(("query", "names"), QUERIES)
def test_what_a_query_chooses(database: Database, query: PictureQuery, names: set[str]) -> None:
    chosen = [NAMES[each.image_id] for each in SqlDatasets(database).pictures(query)]
    assert set(chosen) == names
    assert chosen == sorted(chosen, key=lambda name: next(-e.days for e in ARCHIVE if e.name == name))


def test_more_pictures_than_a_page(database: Database) -> None:
    fill(database, [Picture(f"{number}", days=1 + number / 1e4) for number in range(450)])
    ids = [each.image_id for each in SqlDatasets(database).pictures(PictureQuery())]
    assert len(ids) == len(set(ids)) == 450


def test_pictures_boxes_and_lineage_are_written(
    database: Database, folder: PictureStore, tmp_path: Path
) -> None:
    export = Export(SqlDatasets(database), folder, tmp_path / "set")
    written = export.write(PictureQuery(label="bird", least_confidence=0.8))
    assert (written.pictures, written.boxes, written.missing) == (2, 2, 0)
    with (tmp_path / "set" / "boxes.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == COLUMNS
    assert [(row["label"], row["confidence"], row["x1"], row["y2"]) for row in rows] == [
        ("bird", "0.85", "0.1", "0.6"),
        ("bird", "0.9", "0.1", "0.6"),
    ]
    assert {(row["model_name"], row["model_version"], row["model_digest"]) for row in rows} == {
        ("birds", "v3", "sha256:30c1")
    }
    lines = [json.loads(line) for line in (tmp_path / "set" / "pictures.jsonl").read_text().splitlines()]
    for line, name in zip(lines, ("old bird", "bird"), strict=True):
        picture = next(each for each in ARCHIVE if each.name == name)
        assert (tmp_path / "set" / line["file"]).read_bytes() == picture.content
        assert line["image_id"] == str(picture.id)


def test_a_tag_holds_the_pictures_and_a_second_run_completes(
    database: Database, folder: PictureStore, tmp_path: Path
) -> None:
    export = Export(SqlDatasets(database), folder, tmp_path / "set", "birds-1")
    assert export.write(PictureQuery(label="bird"), most=1).pictures == 1
    assert SqlDatasets(database).sizes() == {"birds-1": 1}
    folder.delete([ARCHIVE[4].path])  # it is in the set's folder already
    assert export.write(PictureQuery(label="bird")).pictures == 3
    assert SqlDatasets(database).sizes() == {"birds-1": 3}
    kept = {NAMES[each.image_id]: each.is_held for each in SqlRetention(database).page(None, None, 9)}
    assert kept == {"old bird": True, "bird": True, "unsure": True, "cat": False, "empty": False}


def test_what_retention_removed_meanwhile_is_not_held(
    database: Database, folder: PictureStore, tmp_path: Path
) -> None:
    class Late(SqlDatasets):
        def hold(self, *arguments: object) -> frozenset:  # type: ignore[type-arg]
            tell(database, "UPDATE images SET deleted_at = uploaded_at WHERE NOT has_detections")
            return super().hold(*arguments)  # type: ignore[arg-type]

    written = Export(Late(database), folder, tmp_path / "set", "all").write(PictureQuery())
    assert (written.pictures, written.missing) == (4, 1)
    assert SqlDatasets(database).sizes() == {"all": 4}


def test_a_damaged_picture_is_left_out(database: Database, folder: PictureStore, tmp_path: Path) -> None:
    folder.replace(ARCHIVE[0].path, b"damaged")
    folder.delete([ARCHIVE[1].path])
    written = Export(SqlDatasets(database), folder, tmp_path / "set").write(PictureQuery(label="bird"))
    assert (written.pictures, written.missing) == (1, 2)


@pytest.mark.parametrize("name", ["", "../x", "a b", "x" * 101, "-x"])
def test_what_is_no_name_of_a_data_set(database: Database, folder: PictureStore, name: str) -> None:
    with pytest.raises(BadRequest):
        Export(SqlDatasets(database), folder, Path("unused"), name)
    with pytest.raises(BadRequest):
        SqlDatasets(database).hold(name, [], NOW)


@pytest.mark.usefixtures("folder")
def test_from_the_command_line(
    database_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    places = ("--database", database_url, "--pictures", str(tmp_path / "pictures"))
    assert main(["set", "--flagged", *places]) == 0
    assert "1 pictures, 0 boxes" in capsys.readouterr().out
    assert len(list((tmp_path / "set" / "images").iterdir())) == 1
    assert main(["set", "--tag", "no name", *places]) == 1
    assert main(["set", "--since", "2026-11-26T12:00", "--device", "cam-2", *places]) == 0
    assert "1 pictures, 1 boxes" in capsys.readouterr().out
