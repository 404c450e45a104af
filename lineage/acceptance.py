"""Acceptance: the order of writes by which no accepted picture is lost, and none is stored twice.

The usual way: note in the outbox → picture → record → note removed → answer. With a deferring outbox:
note and bytes in the outbox → answer; picture → record → note removed, later. What died between two of
these is completed by `Delivery`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from hashlib import sha256
from uuid import UUID

from hotswap.errors import StateUnavailable
from lineage.errors import KeyReused, PathTaken, PictureNotFound, PicturesUnavailable, RecordsUnavailable
from lineage.outbox import Entry, Outbox
from lineage.paths import FEWEST_DIGITS, MOST_DIGITS, path_of
from lineage.picture_store import PictureStore
from lineage.record_store import ImageRecordStore
from lineage.records import Capture, ImageRecord
from lineage.stored_form import as_stored

logger = logging.getLogger("bentoml.okawari.lineage")

#: What is noted with a picture in the store.
_NOTED = ("device_id", "captured_at", "sha256")


class Acceptance:
    """Takes pictures with their answers. May be used by several threads and processes at once."""

    def __init__(
        self,
        records: ImageRecordStore,
        pictures: PictureStore,
        outbox: Outbox,
        *,
        deferring: bool = False,
        reserve: Callable[[int], None] = lambda _size: None,
    ) -> None:
        """`deferring`: accept while picture store or records are away. `reserve` raises `StorageFull`."""
        self._records = records
        self._pictures = pictures
        self._outbox = outbox
        self._deferring = deferring
        self._reserve = reserve

    def known(self, capture: Capture) -> ImageRecord | None:
        """What was answered when this picture was handed in before.

        Raises `KeyReused`, and `RecordsUnavailable` unless the outbox defers.
        """
        waiting = self._outbox.find(capture)
        if waiting is not None:
            return _same(waiting, capture)
        try:
            return self._records.find(capture)
        except RecordsUnavailable:
            if not self._deferring:
                raise
            return None

    def accept(self, record: ImageRecord, data: bytes) -> ImageRecord:
        """Keep a picture and its record; returns the record that stands, also when it came before.

        When this returns, the picture is neither lost nor doubled. Raises `StorageFull`,
        `PicturesUnavailable`, `RecordsUnavailable`, `KeyReused`: then its device has to send it again.
        """
        self._reserve(len(data))
        record = as_stored(record)
        try:
            with self._outbox.turn(record.image_id):
                if self._deferring:
                    return self._deferred(record, data)
                return store(record, data, self._records, self._pictures, self._outbox)
        except TimeoutError:
            raise PicturesUnavailable("the same picture is being stored; send it again") from None

    def _deferred(self, record: ImageRecord, data: bytes) -> ImageRecord:
        waiting = self._outbox.find(record.capture)
        if waiting is not None:
            return _same(waiting, record.capture)
        record = record.model_copy(update={"path": self._outbox.reserved_path(record, self._is_free)})
        self._outbox.write(record, data)
        return record

    def _is_free(self, path: str, image_id: UUID) -> bool:
        """Whether no other picture's record has this path, as far as that can be asked."""
        try:
            return self._records.path_holder(path) in (None, image_id)
        except RecordsUnavailable:
            return True


def store(
    record: ImageRecord, data: bytes, records: ImageRecordStore, pictures: PictureStore, outbox: Outbox
) -> ImageRecord:
    """Note → picture → record → note removed, under the picture's turn; returns the record that stands.

    Nothing is ever removed from the picture store: a picture that lost a race over a key between two
    services is left without a record, and `okawari db verify` names it. Raises `KeyReused`.
    """
    standing = records.find(record.capture)
    if standing is not None:
        outbox.remove(record)
        return standing
    accepted = (entry := outbox.read(record.image_id)) is not None and entry.accepted
    for path in _free_paths(record, records):
        placed = record.model_copy(update={"path": path})
        if not accepted or placed.path != record.path:
            outbox.write(placed)
        try:
            pictures.put(path, data, {name: str(getattr(record.capture, name)) for name in _NOTED})
            stands = records.save(placed)
        except PathTaken:
            continue
        except KeyReused:
            if not accepted:
                outbox.remove(placed)
            raise
        outbox.remove(placed)
        return stands
    raise PathTaken(f"every name for {path_of(record.capture)} is taken")


def _free_paths(record: ImageRecord, records: ImageRecordStore) -> Iterator[str]:
    """The paths that a picture may have: the one it was promised, else the shortest of no other picture."""
    names = (path_of(record.capture, digits) for digits in range(FEWEST_DIGITS, MOST_DIGITS + 1))
    for path in (record.path, *names) if record.path else names:
        if records.path_holder(path) in (None, record.image_id):
            yield path


def _same(record: ImageRecord, capture: Capture) -> ImageRecord:
    if record.capture.sha256 != capture.sha256:
        raise KeyReused("Idempotency-Key: it was used for another picture; send each with a key of its own")
    return record


class Delivery:
    """Completes what is in the outbox: what was accepted and deferred, and what somebody died over."""

    def __init__(self, records: ImageRecordStore, pictures: PictureStore, outbox: Outbox) -> None:
        self._records = records
        self._pictures = pictures
        self._outbox = outbox

    def run(self) -> int:
        """Deliver in the order of acceptance; returns how many were. Does nothing while another process does.

        What is away ends the run, and the next one goes on; an entry that cannot be delivered holds up no
        other. Raises `PicturesUnavailable` or `RecordsUnavailable`, for such an entry after all others.
        """
        if not self._outbox.length():
            return 0
        try:
            with self._outbox.delivering():
                self._outbox.tidy()
                return self._deliver_all()
        except TimeoutError:
            return 0

    def _deliver_all(self) -> int:
        delivered, stuck = 0, list[StateUnavailable]()
        for image_id in self._outbox.entries():
            try:
                delivered += self._deliver(image_id)
            except StateUnavailable as error:
                if error.transient:
                    raise
                stuck.append(error)
            except Exception:
                logger.exception("picture %s cannot be delivered", image_id)
                stuck.append(PicturesUnavailable(f"picture {image_id} cannot be delivered; see the log"))
        if stuck:
            raise stuck[0]
        return delivered

    def _deliver(self, image_id: UUID) -> bool:
        """Whether an entry was completed; one that a request is busy with is left to it."""
        try:
            with self._outbox.turn(image_id, 0.0):
                entry = self._outbox.read(image_id)
                if entry is None:
                    return False
                if entry.accepted:
                    self._store(entry)
                else:
                    self._complete(entry.record)
                return True
        except TimeoutError:
            return False

    def _store(self, entry: Entry) -> None:
        record, data = entry.record, self._outbox.picture(entry.record.image_id)
        try:
            store(record, data, self._records, self._pictures, self._outbox)
        except KeyReused as error:
            # Its device was told that it is kept, so it is: under its own identity.
            logger.warning("picture %s: %s", record.image_id, error.message)
            capture = record.capture.model_copy(update={"idempotency_key": None})
            without_key = record.model_copy(update={"capture": capture})
            self._outbox.write(without_key, data)
            self._outbox.forget_key(record.capture)
            store(without_key, data, self._records, self._pictures, self._outbox)

    def _complete(self, record: ImageRecord) -> None:
        """What a request died over: with its picture in the store it becomes whole, else it never was."""
        try:
            data = self._pictures.get(record.path)
            if sha256(data).hexdigest() == record.capture.sha256:
                self._records.save(record)
        except PictureNotFound:
            pass
        except (KeyReused, PathTaken) as error:
            logger.warning("picture %s was not accepted: %s", record.path, error.message)
        self._outbox.remove(record)
