"""From a query to pictures: what cameras handed in, as a folder for training, with boxes and lineage.

    python examples/dataset.py nests/ --label bird --min-confidence 0.8 --since 2026-11-01 --tag nests-1
    python examples/dataset.py wrong/ --flagged --device cam-17
    python examples/dataset.py all/ --database postgresql://reader@db/bird_detection --pictures s3://birds

Without `--database` and `--pictures` it reads where the service of these settings writes (`OKAWARI_…`,
`config.yaml`). The folder gets `images/`, `boxes.csv` (one row for each box) and `pictures.jsonl` (one line
for each picture); every box names the model, version and digest that found it. `--tag NAME` holds the
pictures under that name: retention removes none of them until `okawari storage release NAME`. Run it again
to complete a folder: what is there is not fetched twice.

In a notebook:

    from examples.dataset import Export, opened
    from lineage.datasets import PictureQuery

    with opened() as (datasets, pictures):
        Export(datasets, pictures, Path("nests")).write(PictureQuery(label="bird", least_confidence=0.8))
"""

from __future__ import annotations

import argparse
import csv
import json
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import Any

from adapters.picture_stores import open_pictures
from adapters.records import open_records
from adapters.sql.sql_datasets import SqlDatasets
from detection import picture_options
from hotswap.errors import ServingError
from lineage.datasets import ChosenPicture, Datasets, PictureQuery, checked_name
from lineage.errors import PictureNotFound
from lineage.picture_store import PictureStore
from settings import Settings

#: Pictures that are held in one transaction.
_BATCH = 200
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]")
COLUMNS = (
    *("file", "image_id", "device", "captured_at", "label", "confidence", "x1", "y1", "x2", "y2"),
    *("model_name", "model_version", "model_digest", "detection_id"),
)


@contextmanager
def opened(database: str | None = None, place: str | None = None) -> Iterator[tuple[Datasets, PictureStore]]:
    """The data sets and pictures of the settings, or of another database and place."""
    settings = Settings()
    with (
        closing(open_pictures(place or settings.pictures_location, picture_options(settings))) as pictures,
        closing(open_records(database or settings.database_url, create=False)) as records,
    ):
        yield SqlDatasets(records.database), pictures


@dataclass(frozen=True)
class Written:
    """How many pictures and boxes are in the folder; `missing` had been removed or were damaged."""

    pictures: int
    boxes: int
    missing: int


class Export:
    """Writes pictures that fit a query into a folder; one picture is in memory at a time."""

    def __init__(
        self, datasets: Datasets, pictures: PictureStore, folder: Path, tag: str | None = None
    ) -> None:
        """With `tag` they are held under that name. Raises `BadRequest` for a tag that is no name."""
        self._datasets = datasets
        self._pictures = pictures
        self._folder = folder
        self._tag = None if tag is None else checked_name(tag)

    def write(self, query: PictureQuery, most: int | None = None) -> Written:
        """Write all that fits, or the first so many."""
        (self._folder / "images").mkdir(parents=True, exist_ok=True)
        pictures = boxes = missing = 0
        with (
            (self._folder / "boxes.csv").open("w", newline="") as table,
            (self._folder / "pictures.jsonl").open("w") as lines,
        ):
            rows = csv.writer(table)
            rows.writerow(COLUMNS)
            for picture, is_held in self._held(islice(self._datasets.pictures(query), most)):
                file = self._fetched(picture) if is_held else None
                if file is None:
                    missing += 1
                    continue
                pictures, boxes = pictures + 1, boxes + len(picture.boxes)
                rows.writerows(_rows(file, picture))
                lines.write(json.dumps(_document(file, picture)) + "\n")
        return Written(pictures, boxes, missing)

    def _held(self, pictures: Iterator[ChosenPicture]) -> Iterator[tuple[ChosenPicture, bool]]:
        """Each picture, and whether it can be fetched: with a tag it is held before."""
        while batch := list(islice(pictures, _BATCH)):
            held = {each.image_id for each in batch}
            if self._tag is not None:
                held = set(self._datasets.hold(self._tag, list(held), datetime.now(UTC)))
            yield from ((each, each.image_id in held) for each in batch)

    def _fetched(self, picture: ChosenPicture) -> str | None:
        """The picture's file in the folder; None where its bytes are gone or not those of its record."""
        name = "images/" + _UNSAFE.sub("_", picture.path.removeprefix("images/"))
        file = self._folder / name
        if file.is_file() and sha256(file.read_bytes()).hexdigest() == picture.sha256:
            return name
        try:
            content = self._pictures.get(picture.path)
        except PictureNotFound:
            return None
        if sha256(content).hexdigest() != picture.sha256:
            print(f"{picture.path} is damaged: run okawari db verify", file=sys.stderr)
            return None
        part = file.with_name(f"{file.name}.part")
        part.write_bytes(content)
        part.replace(file)
        return name


def _rows(file: str, picture: ChosenPicture) -> Iterator[tuple[object, ...]]:
    moment = picture.captured_at.isoformat()
    for box in picture.boxes:
        yield (
            *(file, picture.image_id, picture.device, moment, box.label, round(box.confidence, 6)),
            *(round(side, 6) for side in box.bbox),
            *(box.model_name, box.model_version, box.model_digest, box.detection_id),
        )


def _document(file: str, picture: ChosenPicture) -> dict[str, Any]:
    return {
        "file": file,
        "image_id": str(picture.image_id),
        "device": picture.device,
        "captured_at": picture.captured_at.isoformat(),
        "width": picture.width,
        "height": picture.height,
        "sha256": picture.sha256,
        "boxes": [
            {
                "detection_id": str(box.detection_id),
                "label": box.label,
                "confidence": round(box.confidence, 6),
                "bbox": [round(side, 6) for side in box.bbox],
                "model": {"name": box.model_name, "version": box.model_version, "digest": box.model_digest},
            }
            for box in picture.boxes
        ],
    }


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment


def main(arguments: Sequence[str]) -> int:
    """Write a folder; 0 where all that fitted could be fetched."""
    parser = argparse.ArgumentParser(description="Pictures of cameras as a data set.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--label")
    parser.add_argument("--min-confidence", type=float)
    parser.add_argument("--device")
    parser.add_argument("--since", type=_moment, help="ISO 8601, in UTC where it has no zone; included")
    parser.add_argument("--until", type=_moment, help="likewise; not included")
    parser.add_argument("--flagged", action="store_true", help="flagged pictures only")
    parser.add_argument("--limit", type=int, help="at most so many pictures")
    parser.add_argument("--tag", help="hold the pictures under this name against retention")
    parser.add_argument("--database", help="postgresql://… or sqlite:///…")
    parser.add_argument("--pictures", help="a folder, s3://bucket/prefix or lakefs://repository/branch")
    given = parser.parse_args(arguments)
    query = PictureQuery(
        label=given.label,
        least_confidence=given.min_confidence,
        device=given.device,
        since=given.since,
        until=given.until,
        is_flagged=True if given.flagged else None,
    )
    try:
        with opened(given.database, given.pictures) as (datasets, pictures):
            written = Export(datasets, pictures, given.folder, given.tag).write(query, given.limit)
    except ServingError as error:
        print(error.message, file=sys.stderr)
        return 1
    print(f"{given.folder}: {written.pictures} pictures, {written.boxes} boxes; {written.missing} missing")
    return 1 if written.missing else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
