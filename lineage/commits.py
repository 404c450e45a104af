"""Commits over pictures: every few pictures or minutes, and one for a batch; what a killed one left is done.

A commit is three writes: `metadata.json` of each day that it touches, the commit, and its id in the records.
A process that dies between two of them leaves pictures without a commit in the records. The next step takes
them up: a document that is right is not written again, and a commit without changes is the one before.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from hashlib import sha256
from uuid import UUID

from lineage.day_metadata import METADATA_NAME, day_metadata
from lineage.errors import PictureNotFound, RecordsUnavailable
from lineage.picture_store import PictureStore
from lineage.record_store import ImageRecordStore, Uncommitted
from lineage.records import ImageRecord, ProcessingStatus

#: What one of several services and workers does.
COMMIT_TASK = "commit"
#: Seconds for which the right to commit is taken; it is kept while the work goes on, and given back.
_HOLD = 60.0
#: Seconds that a batch waits for it, and between two questions.
_PATIENCE = 5.0
_PAUSE = 0.1
#: How many times as long as a commit took the next one waits.
_PACE = 20.0
#: Pictures in one commit; more are left to the next.
_MOST = 1000


@dataclass(frozen=True, slots=True)
class CommitResult:
    """A commit that was made, and how many pictures it was noted for."""

    commit_id: str
    pictures: int


class Committer:
    """Commits the pictures of completed records. May be used by several threads and processes.

    Methods raise `PicturesUnavailable` or `RecordsUnavailable`: nothing is lost, the next step goes on.
    """

    def __init__(
        self,
        records: ImageRecordStore,
        pictures: PictureStore,
        *,
        holder: str,
        batch_size: int = 10,
        batch_timeout: float = 300.0,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """A commit is due for `batch_size` pictures (1: at once), or when one is `batch_timeout` seconds old.

        `holder` names this process among all that commit here; `clock` is the time of day.
        """
        self._records = records
        self._pictures = pictures
        self._batch_size = batch_size
        self._batch_timeout = batch_timeout
        self._clock = clock
        self._holder = holder
        self._sleep = sleep
        self._batches = 0
        self._not_before = 0.0
        self._lock = threading.RLock()

    def step(self) -> CommitResult | None:
        """Commit what is due; None: nothing is, or another process has the right to.

        While a batch is handed in (see `batch`), only what is too old is due. Is called every few seconds.
        A commit writes a day's document anew: after one of a large day the next waits so long that commits
        take a twentieth of the time.
        """
        with self._lock:
            if self._batches:
                self._hold()
            begun = self._clock()
            if begun < self._not_before or not self._is_due():
                return None
            with self._right(patience=0.0) as has_right:
                # Asked again: another process may have committed meanwhile.
                result = self._commit(self._records.uncommitted(_MOST)) if has_right else None
            ended = self._clock()
            self._not_before = ended + _PACE * (ended - begun)
            return result

    def commit_now(self, image_ids: Collection[UUID]) -> CommitResult | None:
        """Commit these pictures as one, as far as they have no commit.

        None: there are none, or another process kept the right to commit; then a later step takes them.
        """
        with self._lock, self._right(_PATIENCE) as has_right:
            return self._commit(self._named(image_ids)) if has_right else None

    @contextmanager
    def batch(self) -> Iterator[None]:
        """While a batch is handed in: its pictures wait for `commit_now`, in all processes."""
        with self._lock:
            self._batches += 1
            with suppress(RecordsUnavailable):  # then the batch is refused elsewhere
                self._hold()
        try:
            yield
        finally:
            with self._lock:
                self._batches -= 1
                self._give_back()

    def _named(self, image_ids: Collection[UUID]) -> Sequence[Uncommitted]:
        images = [image for image_id in image_ids if (image := self._records.image(image_id)) is not None]
        return [_uncommitted(image) for image in images if _is_waiting(image)][:_MOST]

    def _is_due(self) -> bool:
        waiting = self._records.uncommitted(self._batch_size)
        if not waiting:
            return False
        is_old = self._clock() - waiting[0].uploaded_at.timestamp() >= self._batch_timeout
        return is_old or (len(waiting) >= self._batch_size and not self._batches)

    def _commit(self, waiting: Sequence[Uncommitted]) -> CommitResult | None:
        """None also where the right to commit was lost on the way."""
        if not waiting:
            return None
        for folder in sorted({one.path.rpartition("/")[0] for one in waiting}):
            if not self._hold():
                return None
            self._write_metadata(folder)
        if not self._hold():
            return None
        commit_id = self._pictures.commit(*_description(waiting))
        self._records.committed([one.image_id for one in waiting], commit_id)
        return CommitResult(commit_id, len(waiting))

    def _write_metadata(self, folder: str) -> None:
        path = f"{folder}/{METADATA_NAME}"
        document = day_metadata(folder, self._records.folder(folder))
        with suppress(PictureNotFound):
            if self._pictures.get(path) == document:
                return
        self._pictures.replace(path, document)

    @contextmanager
    def _right(self, patience: float) -> Iterator[bool]:
        """The right to commit, or False after so many seconds; given back afterwards."""
        if not self._hold_within(patience):
            yield False
            return
        try:
            yield True
        finally:
            self._give_back()

    def _hold_within(self, patience: float) -> bool:
        for _ in range(int(patience / _PAUSE)):
            if self._hold():
                return True
            self._sleep(_PAUSE)
        return self._hold()

    def _hold(self) -> bool:
        return self._records.hold(COMMIT_TASK, self._holder, _HOLD)

    def _give_back(self) -> None:
        """Let others commit, unless a batch is handed in here."""
        if not self._batches:
            with suppress(RecordsUnavailable):  # then it ends by itself
                self._records.hold(COMMIT_TASK, self._holder, 0)


def _is_waiting(image: ImageRecord) -> bool:
    return image.commit_id is None and image.status is ProcessingStatus.COMPLETED


def _uncommitted(image: ImageRecord) -> Uncommitted:
    return Uncommitted(image.image_id, image.capture.device_id, image.path, image.uploaded_at)


def _description(waiting: Sequence[Uncommitted]) -> tuple[str, dict[str, str]]:
    """Message and metadata, which are the same for the same pictures."""
    devices = sorted({one.device_id for one in waiting})
    paths = "\n".join(sorted(one.path for one in waiting))
    message = f"{_counted(len(waiting), 'picture')} of {_counted(len(devices), 'device')}"
    metadata = {
        "pictures": str(len(waiting)),
        "devices": str(len(devices)),
        "first_device": devices[0],
        "paths_sha256": sha256(paths.encode()).hexdigest(),
    }
    return message, metadata


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
