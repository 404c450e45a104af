"""The records of pictures in memory: the twin of the record stores in databases, for tests."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from lineage.errors import KeyReused, PathTaken
from lineage.record_store import METRIC_DAYS, Uncommitted
from lineage.records import Capture, ImageRecord, ProcessingStatus
from lineage.stored_form import as_stored, check_key, number

Metric = tuple[datetime, str, float, Mapping[str, Any]]


class RecordsMemory:
    """Forgets everything when its process ends; in all else it keeps the promises of `ImageRecordStore`."""

    name = "memory"

    def __init__(self, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self.images: dict[UUID, ImageRecord] = {}
        self.metrics: list[Metric] = []
        self._tasks: dict[str, tuple[str, datetime]] = {}
        self._clock = clock
        self._lock = threading.RLock()

    def find(self, capture: Capture) -> ImageRecord | None:
        check_key(capture.idempotency_key)
        with self._lock:
            ours = [one for one in self.images.values() if one.capture.device_id == capture.device_id]
            key = capture.idempotency_key
            for one in ours:
                if key is not None and one.capture.idempotency_key == key:
                    if one.capture.sha256 != capture.sha256:
                        raise KeyReused("the Idempotency-Key was used for another picture")
                    return one
            moment, sha256 = capture.captured_at, capture.sha256
            same = (one for one in ours if (one.capture.captured_at, one.capture.sha256) == (moment, sha256))
            return next(same, None)

    def save(self, record: ImageRecord) -> ImageRecord:
        record = as_stored(record)
        with self._lock:
            standing = self.find(record.capture)
            if standing is not None:
                return standing
            if self.path_holder(record.path) is not None:
                raise PathTaken(f"another picture's record has the path {record.path}")
            self.images[record.image_id] = record
            return record

    def image(self, image_id: UUID) -> ImageRecord | None:
        return self.images.get(image_id)

    def path_holder(self, path: str) -> UUID | None:
        with self._lock:
            return next((one.image_id for one in self.images.values() if one.path == path), None)

    def uncommitted(self, limit: int) -> Sequence[Uncommitted]:
        with self._lock:
            waiting = [
                Uncommitted(one.image_id, one.capture.device_id, one.path, one.uploaded_at)
                for one in self.images.values()
                if one.commit_id is None and one.status is ProcessingStatus.COMPLETED
            ]
        return sorted(waiting, key=lambda one: (one.uploaded_at, one.image_id))[:limit]

    def folder(self, folder: str) -> Iterator[ImageRecord]:
        with self._lock:
            inside = [one for one in self.images.values() if one.path.rpartition("/")[0] == folder]
        yield from sorted(inside, key=lambda one: one.path)

    def committed(self, image_ids: Sequence[UUID], commit_id: str) -> None:
        with self._lock:
            for image_id in image_ids:
                image = self.images.get(image_id)
                if image is not None and image.commit_id is None:
                    self.images[image_id] = image.model_copy(update={"commit_id": commit_id})

    def hold(self, task: str, holder: str, seconds: float) -> bool:
        with self._lock:
            now = self._clock()
            held_by, until = self._tasks.get(task, (holder, now))
            if held_by != holder and until > now:
                return False
            self._tasks[task] = holder, now + timedelta(seconds=seconds)
            return True

    def note_metrics(self, moment: datetime, values: Mapping[str, tuple[float, Mapping[str, Any]]]) -> None:
        with self._lock:
            for name, (value, labels) in values.items():
                if math.isfinite(value):
                    self.metrics.append((moment, name, number(value), dict(labels)))
            self.metrics = [one for one in self.metrics if one[0] >= moment - METRIC_DAYS]

    def close(self) -> None:
        pass
