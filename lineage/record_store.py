"""The contract of the record store: one transaction a picture, exactly one record for each hand-in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol
from uuid import UUID

from lineage.records import Capture, ImageRecord

#: So long a row of `system_metrics` is kept.
METRIC_DAYS = timedelta(days=30)


@dataclass(frozen=True, slots=True)
class Uncommitted:
    """A stored picture that no commit holds yet."""

    image_id: UUID
    device_id: str
    path: str
    uploaded_at: datetime


class ImageRecordStore(Protocol):
    """The records. May be used by several threads and processes at once.

    Each method raises `RecordsUnavailable` when the database cannot be used; then nothing was changed,
    unless the connection broke while a change was committed: asking again tells.
    """

    @property
    def name(self) -> str:
        """The place, for people; without password."""
        ...

    def find(self, capture: Capture) -> ImageRecord | None:
        """The record of this hand-in: by its Idempotency-Key, else by device, moment and hash.

        Raises `KeyReused` where the key belongs to a picture with another hash.
        """
        ...

    def save(self, record: ImageRecord) -> ImageRecord:
        """Write a picture, its detections and its run in one transaction; make the device where it is new.

        Where the hand-in has a record already (see `find`) nothing is written; the record that stands is
        returned. Two at once write one. What is returned is what `find` gives from then on: numbers have six
        digits, texts fit their columns, and what was found is in the order of confidence.

        Raises `KeyReused` as `find` does, and `PathTaken` where another picture's record has the path.
        """
        ...

    def image(self, image_id: UUID) -> ImageRecord | None:
        """The record of a picture."""
        ...

    def path_holder(self, path: str) -> UUID | None:
        """Which picture's record has this path."""
        ...

    def uncommitted(self, limit: int) -> Sequence[Uncommitted]:
        """Completed pictures without commit, the oldest first."""
        ...

    def folder(self, folder: str) -> Iterator[ImageRecord]:
        """The pictures of a device's day that are still stored, in the order of their paths.

        Some are read at a time: a day may have many.
        """
        ...

    def committed(self, image_ids: Sequence[UUID], commit_id: str) -> None:
        """Note the commit that holds these pictures; one that has a commit already keeps it."""
        ...

    def hold(self, task: str, holder: str, seconds: float) -> bool:
        """Take or keep the right to do a task that one of several services does; False: another has it.

        It ends after `seconds`; 0 gives it back.
        """
        ...

    def note_metrics(self, moment: datetime, values: Mapping[str, tuple[float, Mapping[str, Any]]]) -> None:
        """Add a row to `system_metrics` for each metric, and remove rows older than 30 days."""
        ...

    def close(self) -> None:
        """Close all connections."""
        ...
