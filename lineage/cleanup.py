"""A clean-up: first the row says that the picture is gone, then the picture goes.

A clean-up may be stopped anywhere. What lies between the two is known by its row, and the next one deletes
it. Only one of several services cleans at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from typing import Protocol
from uuid import UUID

from lineage.commits import COMMIT_TASK
from lineage.day_metadata import METADATA_NAME
from lineage.picture_store import PictureStore
from lineage.retention import Choice, Reason, Removal, RetentionRules, StoredPages, Worth

#: Pictures of one transaction, and of one request to the picture store.
BATCH = 200
#: The task of which one service has the right, and for how many seconds it keeps that between two batches.
TASK = "retention"
LEASE_SECONDS = 120.0


class TaskLeases(Protocol):
    """Who does a task that one of several services does; see `ImageRecordStore.hold`."""

    def hold(self, task: str, holder: str, seconds: float) -> bool:
        """Take or keep the right to do it; False: another has it."""
        ...


class RetentionStore(StoredPages, Protocol):
    """The records, as a clean-up changes them. Raises `RecordsUnavailable`; then nothing was changed."""

    def entomb(
        self, removals: Sequence[Removal], still_goes: Callable[[Removal], bool], moment: datetime
    ) -> Sequence[Removal]:
        """Note in one transaction that these pictures are gone; what `still_goes` refuses by now stays.

        No flag, annotation or data set comes between its look at a picture and its end.
        """
        ...

    def in_removal(self, limit: int) -> Sequence[tuple[UUID, str]]:
        """Pictures that are noted as gone and not yet known to be deleted, with their paths."""
        ...

    def removed(self, image_ids: Sequence[UUID], moment: datetime) -> None:
        """Note that the picture store has deleted these."""
        ...

    def empty_folders(self, folders: Sequence[str]) -> Sequence[str]:
        """Which of these folders hold no stored picture any more."""
        ...


@dataclass(slots=True)
class Sums:
    """Pictures and bytes."""

    pictures: int = 0
    size: int = 0

    def add(self, size: int) -> None:
        """Count one more."""
        self.pictures += 1
        self.size += size


@dataclass(slots=True)
class CleanupReport:
    """What a clean-up removed, or would remove. `completed`: pictures that an earlier one had left."""

    reasons: dict[Reason, Sums] = field(default_factory=lambda: {each: Sums() for each in Reason})
    classes: dict[Worth, Sums] = field(default_factory=lambda: {each: Sums() for each in Worth})
    completed: int = 0
    #: Another service took over, or the caller stopped it.
    is_cut_short: bool = False

    @property
    def total(self) -> Sums:
        """All removed pictures."""
        sums = self.reasons.values()
        return Sums(sum(each.pictures for each in sums), sum(each.size for each in sums))

    def add(self, removal: Removal) -> None:
        """Count a removed picture."""
        self.reasons[removal.reason].add(removal.picture.size)
        self.classes[removal.picture.worth].add(removal.picture.size)


class Cleanup:
    """Removes what the rules let go. May be run by several services at once: one of them does it."""

    def __init__(
        self,
        store: RetentionStore,
        pictures: PictureStore,
        leases: TaskLeases,
        rules: RetentionRules,
        *,
        clock: Callable[[], datetime],
        holder: str,
        disk_short: Callable[[], int] = lambda: 0,
        batch: int = BATCH,
    ) -> None:
        """`holder` names this service among all; `disk_short` says how many bytes a disk lacks."""
        self._batch = batch
        self._store = store
        self._pictures = pictures
        self._leases = leases
        self._rules = rules
        self._clock = clock
        self._holder = holder
        self._disk_short = disk_short

    def plan(self) -> Iterator[Removal]:
        """What would go now, in its order; nothing is changed."""
        for page in self._choice().removals():
            yield from page

    def run(self, stopped: Callable[[], bool] = lambda: False) -> CleanupReport | None:
        """Remove what goes now; None where another service is cleaning. Ends early when `stopped` says so."""
        if not self._may_go_on(stopped):
            return None
        report = CleanupReport(completed=self._complete())
        self._remove_chosen(report, stopped)
        self._commit(report)
        self._leases.hold(TASK, self._holder, 0)
        return report

    def _remove_chosen(self, report: CleanupReport, stopped: Callable[[], bool]) -> None:
        choice = self._choice()
        for batch in _batches(choice.removals(), self._batch):
            if not self._may_go_on(stopped):
                report.is_cut_short = True
                return
            gone = self._store.entomb(batch, choice.still_goes, self._clock())
            self._delete([(each.picture.image_id, each.picture.path) for each in gone])
            for removal in gone:
                report.add(removal)

    def _may_go_on(self, stopped: Callable[[], bool]) -> bool:
        return not stopped() and self._leases.hold(TASK, self._holder, LEASE_SECONDS)

    def _choice(self) -> Choice:
        return Choice(self._store, self._rules, self._clock(), self._disk_short())

    def _complete(self) -> int:
        """Delete what an earlier clean-up noted and did not delete; how many."""
        completed = 0
        while left := self._store.in_removal(self._batch):
            self._delete(left)
            completed += len(left)
        return completed

    def _delete(self, pictures: Sequence[tuple[UUID, str]]) -> None:
        """Delete pictures whose rows say that they are gone, then note that this was done.

        The document of a day goes with its last picture.
        """
        if not pictures:
            return
        paths = [path for _, path in pictures]
        folders = sorted({path.rpartition("/")[0] for path in paths})
        documents = [f"{folder}/{METADATA_NAME}" for folder in self._store.empty_folders(folders)]
        self._pictures.delete([*paths, *documents])
        self._store.removed([image_id for image_id, _ in pictures], self._clock())

    def _commit(self, report: CleanupReport) -> None:
        """Commit what was deleted, unless pictures are being committed: then their commit has that, too."""
        total, by = report.total, f"{self._holder}:{TASK}"
        count = total.pictures + report.completed
        if not count or not self._leases.hold(COMMIT_TASK, by, LEASE_SECONDS):
            return
        facts = {"pictures": str(count), "bytes": str(total.size), "by": TASK}
        self._pictures.commit(f"retention: {count} pictures removed", facts)
        self._leases.hold(COMMIT_TASK, by, 0)


def _batches(pages: Iterator[Sequence[Removal]], most: int) -> Iterator[Sequence[Removal]]:
    """All removals, so many at a time."""
    each = (removal for page in pages for removal in page)
    while batch := list(islice(each, most)):
        yield batch
