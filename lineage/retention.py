"""Which pictures are removed when, as pure rules; their rows stay, and say so.

By age a picture goes when it was accepted more than `days` ago, unless it is worth keeping: flagged,
annotated, or with a detection of high confidence. By size the least worth goes first, in each class the
oldest: without detections, with detections of low confidence, and last what is worth keeping. What a data
set holds never goes. Age counts from the acceptance, by our clock: a device's clock may be wrong.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import IntEnum, StrEnum
from typing import Protocol
from uuid import UUID

#: Bytes of a gigabyte, as disks are sold.
GIGABYTE = 1_000_000_000
#: From this confidence on a detection is worth its picture.
HIGH_CONFIDENCE = 0.8
#: Pictures in one page that is looked at.
PAGE = 500


class Worth(IntEnum):
    """What a picture is worth, in the order in which they go; `HELD` never does."""

    EMPTY = 0
    LOW = 1
    HIGH = 2
    HELD = 3


class Reason(StrEnum):
    """Why a picture was removed."""

    AGE = "age"
    SIZE = "size"


@dataclass(frozen=True, slots=True)
class StoredPicture:
    """A stored picture as retention sees it. `confidence` is the highest on it; None: nothing found."""

    image_id: UUID
    path: str
    accepted_at: datetime
    size: int
    confidence: float | None = None
    is_flagged: bool = False
    is_annotated: bool = False
    is_held: bool = False

    @property
    def place(self) -> Place:
        """Where it stands among all."""
        return self.accepted_at, self.image_id

    @property
    def worth(self) -> Worth:
        """Its class."""
        if self.is_held:
            return Worth.HELD
        if self.is_flagged or self.is_annotated:
            return Worth.HIGH
        if self.confidence is None:
            return Worth.EMPTY
        return Worth.HIGH if self.confidence >= HIGH_CONFIDENCE else Worth.LOW


#: Where a picture stands in the order of age.
Place = tuple[datetime, UUID]


@dataclass(frozen=True, slots=True)
class Removal:
    """A picture that goes, and why."""

    picture: StoredPicture
    reason: Reason


@dataclass(frozen=True, slots=True)
class StorageUse:
    """What the stored pictures take, by their records."""

    pictures: int
    size: int


@dataclass(frozen=True, slots=True)
class RetentionRules:
    """How long and how much is kept. Sizes are in bytes; `days` None: no picture is too old.

    A clean-up by size goes down to `aim`, so that what comes next has room before the next one.
    """

    days: float | None = 90
    most_bytes: int = 100 * GIGABYTE
    warning_bytes: int = 85 * GIGABYTE

    @classmethod
    def configured(cls, days: float, most_gb: float, warning_gb: float) -> RetentionRules:
        """From days and gigabytes."""
        return cls(days, round(most_gb * GIGABYTE), round(warning_gb * GIGABYTE))

    @property
    def aim(self) -> int:
        """How much is left after a clean-up by size: 95 % of the limit."""
        return self.most_bytes * 95 // 100

    def oldest(self, now: datetime) -> datetime | None:
        """What was accepted before is too old."""
        return None if self.days is None else now - timedelta(days=self.days)

    def is_too_old(self, picture: StoredPicture, now: datetime) -> bool:
        """Whether it goes by age."""
        oldest = self.oldest(now)
        return oldest is not None and picture.accepted_at < oldest and picture.worth < Worth.HIGH

    def excess(self, size: int) -> int:
        """Bytes that must go by size."""
        return max(0, size - self.aim)


class StoredPages(Protocol):
    """The records, as far as the choice reads them."""

    def use(self) -> StorageUse:
        """What all stored pictures take."""
        ...

    def page(self, after: Place | None, before: datetime | None, limit: int) -> Sequence[StoredPicture]:
        """Stored pictures behind a place, accepted before a moment; the oldest first."""
        ...


class Choice:
    """Which pictures go now, in the order in which they go; it reads one page at a time."""

    def __init__(
        self, stored: StoredPages, rules: RetentionRules, now: datetime, disk_short: int = 0
    ) -> None:
        """`disk_short`: bytes that a disk lacks, which must go whatever the limit says."""
        self._stored = stored
        self._rules = rules
        self._now = now
        self._disk_short = disk_short

    def removals(self) -> Iterator[Sequence[Removal]]:
        """What goes, by pages; first by age, then by size as far as that was not enough."""
        left = max(self._rules.excess(self._stored.use().size), self._disk_short)
        for page in self._by_age():
            left -= sum(each.picture.size for each in page)
            yield page
        for worth in (Worth.EMPTY, Worth.LOW, Worth.HIGH):
            for page in self._by_size(worth, left):
                left -= sum(each.picture.size for each in page)
                yield page

    def still_goes(self, removal: Removal) -> bool:
        """Whether what is now known of the picture still allows it: somebody may have flagged it since."""
        if removal.reason is Reason.AGE:
            return self._rules.is_too_old(removal.picture, self._now)
        return removal.picture.worth is not Worth.HELD

    def _by_age(self) -> Iterator[Sequence[Removal]]:
        oldest = self._rules.oldest(self._now)
        if oldest is None:
            return
        for page in self._pages(oldest):
            yield [
                Removal(picture, Reason.AGE) for picture in page if self._rules.is_too_old(picture, self._now)
            ]

    def _by_size(self, worth: Worth, left: int) -> Iterator[Sequence[Removal]]:
        """The oldest of a class, until so many bytes are gone."""
        if left <= 0:
            return
        for page in self._pages(None):
            chosen = []
            for picture in page:
                if left > 0 and picture.worth is worth and not self._rules.is_too_old(picture, self._now):
                    chosen.append(Removal(picture, Reason.SIZE))
                    left -= picture.size
            yield chosen
            if left <= 0:
                return

    def _pages(self, before: datetime | None) -> Iterator[Sequence[StoredPicture]]:
        after: Place | None = None
        while page := self._stored.page(after, before, PAGE):
            yield page
            after = page[-1].place
