"""The model registry as one JSON file that people may read and edit: locked, and replaced as a whole."""

from __future__ import annotations

import os
import threading
import time as clock
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from hashlib import blake2b
from pathlib import Path

from common.files import locked, write_atomically
from registry.entries import By, ChangeRecord, RegistryEntry, Status, Switch
from registry.errors import RegistryDamaged, RegistryUnavailable
from registry.model_record import Change, ChangeOutcome, ModelRecord, Stamp, take_in_edit
from registry.record_store import Pointers
from registry.registry_document import DocumentCodec, RegistryDocument
from registry.switches import SwitchLog

_EMPTY = b'{"models": []}\n'
_EDITOR = By(actor="file edit")
#: A file changed so recently may be changed again without its times telling; then its bytes are compared.
_SETTLED_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class _Seen:
    """What was read last: the file's state on disk, its bytes, and what they say.

    `problem` is why they were refused; then `document` is what was right before. `edited` says that
    production was moved by an edit that the history does not know yet.
    """

    stat: tuple[int, ...] | None
    data: bytes
    document: RegistryDocument
    pointers: Pointers
    problem: RegistryDamaged | None = None
    edited: bool = False


class FileRegistry:
    """A `RecordStore` in a file. A wrong edit is refused as a whole, and the content before it holds."""

    def __init__(self, path: Path) -> None:
        """Create the file, with no models, where it is absent."""
        self._path = path
        self._lock = path.with_name(f".{path.name}.lock")
        self._switches = SwitchLog(path.with_name(f"{path.stem}.switches.jsonl"), self._lock)
        self._reading = threading.Lock()
        self._codec = DocumentCodec()
        self._seen: _Seen | None = None
        with _explained(path):
            self._create()

    def _create(self) -> None:
        if not self._path.exists():
            with locked(self._lock):
                if not self._path.exists():
                    write_atomically(self._path, _EMPTY)

    def change(self, name: str, change: Change, by: By) -> ChangeOutcome:
        """See `RecordStore`. Raises `RegistryDamaged` while the file holds a wrong edit, which is kept."""
        return self.change_each([(name, change)], by)[0]

    def change_each(self, changes: Sequence[tuple[str, Change]], by: By) -> list[ChangeOutcome]:
        """See `RecordStore`; raises as `change` does."""
        outcomes = []
        with _explained(self._path), locked(self._lock):
            document = before = self._newest()
            for name, change in changes:
                record = document.records.get(name) or ModelRecord(name, {})
                if record.entries:
                    document, record = _with_edit_noted(document, record)
                outcome = change(record, Stamp(document.next_number, datetime.now(UTC), by))
                if outcome.change is not None:
                    document = document.with_record(outcome.record, outcome.change)
                outcomes.append(outcome)
            if any(outcome.change is not None for outcome in outcomes) and document is not before:
                self._write(document)
        return outcomes

    def record(self, name: str) -> ModelRecord:
        """See `RecordStore`."""
        return self._good().document.records.get(name) or ModelRecord(name, {})

    def entries(self, name: str | None, status: Status | None, alias: str | None) -> Iterable[RegistryEntry]:
        """See `RecordStore`."""
        document = self._good().document
        records = document.records.values() if name is None else [self.record(name)]
        return (
            entry
            for record in records
            for entry in record.entries.values()
            if status in (None, entry.status) and (alias is None or alias in entry.aliases)
        )

    def history(self, name: str, before: int | None, limit: int) -> tuple[ChangeRecord, ...]:
        """See `RecordStore`."""
        fitting = (
            one
            for one in reversed(self._good().document.history)
            if one.model_name == name and (before is None or one.number < before)
        )
        return tuple(one for one, _ in zip(fitting, range(limit), strict=False))

    def changes(self, after: int, limit: int) -> tuple[ChangeRecord, ...]:
        """See `RecordStore`."""
        newer = (one for one in self._good().document.history if one.number > after)
        return tuple(one for one, _ in zip(newer, range(limit), strict=False))

    def pointers(self) -> Pointers:
        """See `RecordStore`. Notes in the history when production was moved by an edit of the file."""
        seen = self._good()
        if seen.edited:
            self._note_edits()
            seen = self._good()
        return seen.pointers

    def record_switch(self, switch: Switch) -> None:
        """See `RecordStore`."""
        with _explained(self._path):
            self._switches.add(switch)

    def switches_at(self, name: str, time: datetime) -> tuple[Switch, ...]:
        """See `RecordStore`."""
        with _explained(self._path):
            return self._switches.at(name, time)

    def close(self) -> None:
        """Nothing is held open."""

    def _note_edits(self) -> None:
        try:
            with locked(self._lock):
                document = before = self._newest()
                for record in before.records.values():
                    document, _ = _with_edit_noted(document, record)
                if document is not before:
                    self._write(document)
        except (OSError, RegistryDamaged):
            return  # the edit holds all the same; the next change notes it

    def _newest(self) -> RegistryDocument:
        """What the file holds now, while it is locked; raises `RegistryDamaged`."""
        seen = self._look()
        if seen.problem is not None:
            raise seen.problem
        return seen.document

    def _good(self) -> _Seen:
        """What was read last and is right; raises only where nothing ever was."""
        with _explained(self._path):
            return self._look()

    def _look(self) -> _Seen:
        with self._reading:
            stat = _stat(self._path)
            if self._seen is None or self._seen.stat is None or self._seen.stat != stat:
                self._seen = self._read(stat)
            return self._seen

    def _read(self, stat: tuple[int, ...]) -> _Seen:
        data, last = self._path.read_bytes(), self._seen
        settled = stat if clock.time() - stat[-1] / 1e9 > _SETTLED_SECONDS else None
        if last is not None and last.data == data:
            return replace(last, stat=settled)
        try:
            document = self._codec.parse(str(self._path), data)
        except RegistryDamaged as error:
            if last is None:
                raise
            kept = Pointers(_row_version(data), last.pointers.models, error.message)
            return _Seen(settled, data, last.document, kept, error)
        return _seen(settled, data, document)

    def _write(self, document: RegistryDocument) -> None:
        data = self._codec.to_json(document)
        write_atomically(self._path, data)
        with self._reading:
            # No change of ours is an edit of the file.
            may_be_edited = self._seen is None or self._seen.edited
            self._seen = _seen(None, data, document, may_be_edited=may_be_edited)


def _seen(
    stat: tuple[int, ...] | None, data: bytes, document: RegistryDocument, *, may_be_edited: bool = True
) -> _Seen:
    pointers = Pointers(_row_version(data), document.pointers())
    return _Seen(stat, data, document, pointers, edited=may_be_edited and _has_edit(document))


def _row_version(data: bytes) -> str:
    return blake2b(data, digest_size=16).hexdigest()


def _stat(path: Path) -> tuple[int, ...]:
    """What differs when the file was replaced or changed; the last is when that was, in nanoseconds."""
    found = os.stat(path)  # noqa: PTH116 - asked twice a second
    return found.st_ino, found.st_dev, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _stamp(document: RegistryDocument) -> Stamp:
    return Stamp(document.next_number, datetime.now(UTC), _EDITOR)


def _has_edit(document: RegistryDocument) -> bool:
    stamp = _stamp(document)
    return any(take_in_edit(record, stamp) for record in document.records.values())


def _with_edit_noted(document: RegistryDocument, record: ModelRecord) -> tuple[RegistryDocument, ModelRecord]:
    """Both with the edit noted that moved production past the registry; the same where there was none."""
    outcome = take_in_edit(record, _stamp(document))
    if outcome is None or outcome.change is None:
        return document, record
    return document.with_record(outcome.record, outcome.change), outcome.record


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """What the system refuses becomes `RegistryUnavailable`."""
    try:
        yield
    except OSError as error:  # a TimeoutError of the lock, too
        reason = error.strerror or str(error)
        raise RegistryUnavailable(f"the registry {path} cannot be used: {reason}") from None
