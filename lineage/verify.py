"""Whether records and pictures agree: both read in the order of their paths, side by side, page by page.

It may run while pictures are accepted and removed: what does not agree is looked at once more by itself, and
an object without a row is no finding while it is so young that its row may still be on its way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from hashlib import sha256
from typing import Protocol
from uuid import UUID

from lineage.day_metadata import METADATA_NAME
from lineage.errors import PictureNotFound, PicturesUnavailable
from lineage.picture_store import PictureStore, StoredObject

#: Rows of one page.
_PAGE = 1000
#: An object may be so old before its row is missed: a batch's commit and the outbox come later.
GRACE = timedelta(minutes=10)
#: What lies beside the pictures by design: the documents of days, and copies by what was found.
_DOCUMENT = f"/{METADATA_NAME}"
_COPIES = "with-detections/"


class Fault(StrEnum):
    """What does not agree."""

    MISSING_PICTURE = "missing picture"
    UNKNOWN_OBJECT = "unknown object"
    WRONG_SIZE = "wrong size"
    WRONG_HASH = "wrong hash"
    HALF_ROW = "half row"
    LEFT_OVER = "left over"


#: What to do about it.
ADVICE = {
    Fault.MISSING_PICTURE: "restore the object from a backup or an earlier commit of the store; where there "
    "is none the picture is lost, and its row says what was found on it",
    Fault.UNKNOWN_OBJECT: "no row names it: keep a copy and delete it, or restore a later database",
    Fault.WRONG_SIZE: "the object was cut or replaced: restore it from a backup or an earlier commit",
    Fault.WRONG_HASH: "the object was changed or damaged: restore it from a backup or an earlier commit",
    Fault.HALF_ROW: "the row says completed and has no run: set processing_status to failed, so that nobody "
    "takes it for an empty picture",
    Fault.LEFT_OVER: "a clean-up was stopped: `okawari storage clean --yes` deletes it; the rest by hand",
}


@dataclass(frozen=True, slots=True)
class Discrepancy:
    """One thing that does not agree; `detail` says how."""

    fault: Fault
    path: str
    image_id: UUID | None = None
    detail: str = ""


@dataclass(frozen=True, slots=True)
class VerifiedRow:
    """A picture's row, as far as it is compared."""

    image_id: UUID
    path: str
    size: int
    sha256: str
    is_removed: bool
    is_half: bool


class RowsByPath(Protocol):
    """The rows of all pictures, also of those that were removed. Raises `RecordsUnavailable`."""

    def count(self) -> int:
        """How many there are."""
        ...

    def rows(self, after: str, limit: int) -> Sequence[VerifiedRow]:
        """Those behind a path, by the bytes of their paths."""
        ...

    def row(self, path: str) -> VerifiedRow | None:
        """The one with this path."""
        ...


class Comparison:
    """One look over everything. `compared`, `young` and `others` count while it runs.

    `young`: objects that may still get their row. `others`: objects that are no pictures, by design.
    """

    def __init__(
        self, rows: RowsByPath, pictures: PictureStore, now: datetime, *, hashes: bool = True
    ) -> None:
        """Without `hashes` no picture is read: sizes are compared, contents are not."""
        self._rows = rows
        self._pictures = pictures
        self._oldest = now - GRACE
        self._hashes = hashes
        self.compared = 0
        self.young = 0
        self.others = 0

    def findings(self, advance: Callable[[], None] = lambda: None) -> Iterator[Discrepancy]:
        """What does not agree, in the order of the paths; `advance` is called for each row."""
        for row, found in _side_by_side(self._all_rows(), self._objects()):
            if row is not None:
                self.compared += 1
                advance()
                yield from self._about_row(row, found)
            elif found is not None:
                yield from self._about_object(found)

    def _all_rows(self) -> Iterator[VerifiedRow]:
        after = ""
        while page := self._rows.rows(after, _PAGE):
            yield from page
            after = page[-1].path

    def _objects(self) -> Iterator[StoredObject]:
        """The pictures of the store, in order. Raises `PicturesUnavailable` where it keeps none."""
        last = ""
        for found in self._pictures.objects():
            if found.path <= last:
                raise PicturesUnavailable(f"{self._pictures.name} lists {found.path} behind {last}")
            last = found.path
            if found.path.endswith(_DOCUMENT) or found.path.startswith(_COPIES):
                self.others += 1
            else:
                yield found

    def _about_row(self, row: VerifiedRow, found: StoredObject | None) -> Iterator[Discrepancy]:
        if row.is_half:
            yield Discrepancy(Fault.HALF_ROW, row.path, row.image_id)
        if row.is_removed:
            if found is not None and self._content(row.path) is not None:
                yield Discrepancy(Fault.LEFT_OVER, row.path, row.image_id)
        elif found is None:
            yield from self._about_missing(row)
        elif found.size != row.size:
            detail = f"{found.size} bytes, the row says {row.size}"
            yield Discrepancy(Fault.WRONG_SIZE, row.path, row.image_id, detail)
        elif self._hashes:
            yield from self._about_content(row)

    def _about_missing(self, row: VerifiedRow) -> Iterator[Discrepancy]:
        """Look once more: it may have come or gone since the store was listed."""
        again = self._rows.row(row.path)
        if again is not None and not again.is_removed and self._content(row.path) is None:
            yield Discrepancy(Fault.MISSING_PICTURE, row.path, row.image_id)

    def _about_content(self, row: VerifiedRow) -> Iterator[Discrepancy]:
        content = self._content(row.path)
        if content is None:
            yield from self._about_missing(row)
        elif (found := sha256(content).hexdigest()) != row.sha256:
            detail = f"sha256 {found[:12]}, the row says {row.sha256[:12]}"
            yield Discrepancy(Fault.WRONG_HASH, row.path, row.image_id, detail)

    def _about_object(self, found: StoredObject) -> Iterator[Discrepancy]:
        if found.modified > self._oldest:
            self.young += 1
        elif self._rows.row(found.path) is None:
            yield Discrepancy(Fault.UNKNOWN_OBJECT, found.path, detail=f"{found.size} bytes")

    def _content(self, path: str) -> bytes | None:
        try:
            return self._pictures.get(path)
        except PictureNotFound:
            return None


def _side_by_side(
    rows: Iterator[VerifiedRow], objects: Iterator[StoredObject]
) -> Iterator[tuple[VerifiedRow | None, StoredObject | None]]:
    """Each row with the object at its path; either without the other where there is none."""
    row, found = next(rows, None), next(objects, None)
    while row is not None or found is not None:
        if found is None or (row is not None and row.path < found.path):
            yield row, None
            row = next(rows, None)
        elif row is None or found.path < row.path:
            yield None, found
            found = next(objects, None)
        else:
            yield row, found
            row, found = next(rows, None), next(objects, None)
