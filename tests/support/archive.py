"""Many pictures at once: rows and objects of pictures that were accepted some days ago."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any
from uuid import UUID, uuid5

from sqlalchemy import Table, insert, select, text

from adapters.sql.database import Database
from adapters.sql.lineage_tables import DATASETS, DETECTIONS, DEVICES, IMAGES, SESSIONS
from lineage.picture_store import PictureStore

NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)
_IDS = UUID("6f0d2a55-3b6e-4a43-9a34-5a4d1f0a9c11")
_CHUNK = 1000


@dataclass(frozen=True)
class Picture:
    """A picture of an archive. `found`: the confidences of what was found on it."""

    name: str
    days: float = 1.0
    size: int = 100
    found: tuple[float, ...] = ()
    label: str = "bird"
    is_flagged: bool = False
    device: str = "cam-1"
    status: str = "completed"
    dataset: str | None = None

    @property
    def id(self) -> UUID:
        return uuid5(_IDS, self.name)

    @property
    def accepted_at(self) -> datetime:
        return NOW - timedelta(days=self.days)

    @property
    def folder(self) -> str:
        return f"images/{self.device}/{self.accepted_at:%Y-%m-%d}"

    @property
    def path(self) -> str:
        return f"{self.folder}/{self.accepted_at:%H-%M-%S}_{self.id.hex}.jpg"

    @property
    def content(self) -> bytes:
        return self.name.encode().ljust(self.size, b".")

    def image_row(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "device_id": uuid5(_IDS, self.device),
            "lakefs_path": self.path,
            "captured_at": self.accepted_at,
            "uploaded_at": self.accepted_at,
            "width": 640,
            "height": 480,
            "format": "jpg",
            "size_bytes": self.size,
            "processing_status": self.status,
            "has_detections": bool(self.found),
            "is_flagged": self.is_flagged,
            "sha256": sha256(self.content).hexdigest(),
        }

    def detection_rows(self) -> Iterator[dict[str, Any]]:
        for number, confidence in enumerate(self.found):
            yield {
                "id": self.detection(number),
                "image_id": self.id,
                **dict(zip(("bbox_x1", "bbox_y1", "bbox_x2", "bbox_y2"), (0.1, 0.2, 0.5, 0.6), strict=True)),
                "confidence": confidence,
                "label": self.label,
                "created_at": self.accepted_at,
                **_model(),
            }

    def detection(self, number: int) -> UUID:
        return uuid5(self.id, f"detection {number}")

    def session_row(self) -> dict[str, Any]:
        return {
            "id": uuid5(self.id, "run"),
            "image_id": self.id,
            "started_at": self.accepted_at,
            "completed_at": self.accepted_at,
            "duration_ms": 12.5,
            "num_detections": len(self.found),
            "max_confidence": max(self.found, default=None),
            "status": "success",
            **_model(),
        }


def _model() -> dict[str, Any]:
    return {"model_name": "birds", "model_version": "v3", "model_digest": "sha256:30c1"}


def fill(database: Database, pictures: Iterable[Picture], store: PictureStore | None = None) -> None:
    """Write the rows of these pictures, and their objects where there is a store."""
    for chunk in _chunks(pictures):
        devices = {picture.device for picture in chunk}
        with database.writing() as connection:
            known = set(connection.execute(select(DEVICES.c.device_id)).scalars())
            new = [
                {"id": uuid5(_IDS, name), "device_id": name, "created_at": NOW} for name in devices - known
            ]
            rows: list[tuple[Table, list[dict[str, Any]]]] = [
                (DEVICES, new),
                (IMAGES, [picture.image_row() for picture in chunk]),
                (DETECTIONS, [row for picture in chunk for row in picture.detection_rows()]),
                (SESSIONS, [picture.session_row() for picture in chunk]),
                (
                    DATASETS,
                    [
                        {"dataset": picture.dataset, "image_id": picture.id, "added_at": NOW}
                        for picture in chunk
                        if picture.dataset
                    ],
                ),
            ]
            for table, values in rows:
                if values:
                    connection.execute(insert(table), values)
        if store is not None:
            for picture in chunk:
                store.put(picture.path, picture.content, {})


def _chunks(pictures: Iterable[Picture]) -> Iterator[Sequence[Picture]]:
    chunk = []
    for picture in pictures:
        chunk.append(picture)
        if len(chunk) == _CHUNK:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def stored(database: Database) -> set[UUID]:
    """The pictures without a tombstone."""
    with database.reading() as connection:
        return set(connection.execute(select(IMAGES.c.id).where(IMAGES.c.deleted_at.is_(None))).scalars())


def tell(database: Database, statement: str, **values: Any) -> list[Any]:
    """Run a statement of a test."""
    with database.writing() as connection:
        done = connection.execute(text(statement), values)
        return list(done) if done.returns_rows else []
