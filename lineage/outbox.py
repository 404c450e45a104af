"""The outbox: a file for each picture on its way into picture store and records, whatever dies meanwhile.

An entry is `<image_id>.json`, the record; beside it `<image_id>.picture` where the picture was accepted
before it was stored. Writers of one picture, in whatever process, take turns by a lock that ends with its
process.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from uuid import UUID

from pydantic import ValidationError

from common.files import locked, write_atomically
from lineage.errors import PathTaken, PicturesUnavailable, StorageFull
from lineage.paths import FEWEST_DIGITS, MOST_DIGITS, path_of
from lineage.records import Capture, ImageRecord

_RECORD, _PICTURE = ".json", ".picture"
_ID = re.compile(r"[0-9a-f]{32}")
#: Seconds that the writer of a picture waits for another one of the same.
_PATIENCE = 8.0


@dataclass(frozen=True, slots=True)
class Entry:
    """A picture on its way; `accepted`: its device was told so, and its bytes are here."""

    record: ImageRecord
    accepted: bool


class Outbox:
    """The entries in a folder. May be used by several threads and processes at once.

    Methods that write raise `StorageFull` for more than `most` entries, and `PicturesUnavailable` when the
    folder cannot be written.
    """

    def __init__(self, folder: Path, most: int = 10_000) -> None:
        self._folder = folder
        self._most = most
        for part in (self._entries, self._keys, self._names, self._locks):
            part.mkdir(parents=True, exist_ok=True)

    @property
    def _entries(self) -> Path:
        return self._folder / "entries"

    @property
    def _keys(self) -> Path:
        return self._folder / "keys"

    @property
    def _names(self) -> Path:
        return self._folder / "names"

    @property
    def _locks(self) -> Path:
        return self._folder / "locks"

    def turn(self, image_id: UUID, seconds: float = _PATIENCE) -> AbstractContextManager[None]:
        """Hold the right to write this picture. Raises `TimeoutError` after `seconds`."""
        return locked(self._locks / image_id.hex[:2], seconds)

    def delivering(self) -> AbstractContextManager[None]:
        """Hold the right to deliver. Raises `TimeoutError` when another process has it."""
        return locked(self._locks / "deliver", 0.0)

    def write(self, record: ImageRecord, picture: bytes | None = None) -> None:
        """Add or replace an entry; with `picture` it is an accepted one, and durable.

        A note alone need not survive a loss of power: what it is about was not accepted.
        """
        path = self._path(record.image_id, _RECORD)
        if not path.exists() and self.length() >= self._most:
            raise StorageFull(f"{self._most} pictures wait to be stored; send it again later")
        try:
            if picture is not None:
                write_atomically(self._path(record.image_id, _PICTURE), picture)
                self._note_key(record)
            is_accepted = picture is not None or self._path(record.image_id, _PICTURE).exists()
            write_atomically(path, record.model_dump_json().encode(), durable=is_accepted)
        except OSError as error:
            raise PicturesUnavailable(f"the outbox {self._folder} cannot be written: {error}") from None

    def read(self, image_id: UUID) -> Entry | None:
        """The entry of a picture; None where there is none, or none that can be read."""
        with suppress(FileNotFoundError, ValidationError):
            record = ImageRecord.model_validate_json(self._path(image_id, _RECORD).read_bytes())
            return Entry(record, self._path(image_id, _PICTURE).exists())
        return None

    def picture(self, image_id: UUID) -> bytes:
        """The bytes of an accepted picture."""
        return self._path(image_id, _PICTURE).read_bytes()

    def find(self, capture: Capture) -> ImageRecord | None:
        """The record of a hand-in that was accepted and is not delivered yet."""
        image_id = capture.image_id
        if capture.idempotency_key is not None:
            with suppress(FileNotFoundError, ValueError):
                image_id = UUID(self._key_path(capture).read_text())
        entry = self.read(image_id)
        return entry.record if entry is not None and entry.accepted else None

    def remove(self, record: ImageRecord) -> None:
        """Remove an entry with its bytes. The record goes first: without it the rest means nothing.

        An entry that comes back after a loss of power is delivered again, which changes nothing.
        """
        self._path(record.image_id, _RECORD).unlink(missing_ok=True)
        self._path(record.image_id, _PICTURE).unlink(missing_ok=True)
        self.forget_key(record.capture)
        if record.path:
            self._name_path(record.path).unlink(missing_ok=True)

    def forget_key(self, capture: Capture) -> None:
        """Find the entry no longer by its Idempotency-Key."""
        if capture.idempotency_key is not None:
            self._key_path(capture).unlink(missing_ok=True)

    def reserved_path(self, record: ImageRecord, is_free: Callable[[str, UUID], bool]) -> str:
        """The path that an accepted picture will have: the shortest that no other one waits for."""
        for digits in range(FEWEST_DIGITS, MOST_DIGITS + 1):
            path = path_of(record.capture, digits)
            if is_free(path, record.image_id) and self._reserve(path, record.image_id):
                return path
        raise PathTaken(f"every name for {path_of(record.capture)} is taken")

    def _reserve(self, path: str, image_id: UUID) -> bool:
        file = self._name_path(path)
        try:
            with file.open("x") as new:
                new.write(image_id.hex)
        except FileExistsError:
            return file.read_text() == image_id.hex
        except OSError as error:
            raise PicturesUnavailable(f"the outbox {self._folder} cannot be written: {error}") from None
        return True

    def entries(self) -> list[UUID]:
        """All entries, the oldest first."""
        return [UUID(path.stem) for _, path in sorted(self._files()) if _ID.fullmatch(path.stem)]

    def length(self) -> int:
        """How many entries there are."""
        return sum(1 for _ in self._entries.glob(f"[0-9a-f]*{_RECORD}"))

    def oldest(self) -> datetime | None:
        """When the oldest entry was written; None where there is none."""
        written = min((moment for moment, _ in self._files()), default=None)
        return None if written is None else datetime.fromtimestamp(written / 1e9, UTC)

    def tidy(self) -> None:
        """Remove bytes without a record: their writer died before the picture was accepted.

        For who delivers, under the right to it.
        """
        for path in self._entries.glob(f"*{_PICTURE}"):
            if not _ID.fullmatch(path.stem):
                continue
            image_id = UUID(path.stem)
            with suppress(TimeoutError), self.turn(image_id, 0.0):
                if not self._path(image_id, _RECORD).exists():
                    path.unlink(missing_ok=True)

    def _files(self) -> Iterator[tuple[int, Path]]:
        for path in self._entries.glob(f"[0-9a-f]*{_RECORD}"):
            with suppress(FileNotFoundError):
                yield path.stat().st_mtime_ns, path

    def _path(self, image_id: UUID, suffix: str) -> Path:
        return self._entries / f"{image_id.hex}{suffix}"

    def _key_path(self, capture: Capture) -> Path:
        name = f"{capture.device_id}\n{capture.idempotency_key}"
        return self._keys / sha256(name.encode()).hexdigest()

    def _name_path(self, path: str) -> Path:
        return self._names / sha256(path.encode()).hexdigest()

    def _note_key(self, record: ImageRecord) -> None:
        if record.capture.idempotency_key is not None:
            write_atomically(self._key_path(record.capture), record.image_id.hex.encode())
