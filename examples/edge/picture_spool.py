"""The spool: pictures that are not delivered yet, as folders that are there as a whole or not at all."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from edge_config import BadSetup

ENTRY, REASON = "entry.json", "reason.txt"
_STAGING = ".in-picture"
_BLOCK = 1 << 20


@dataclass(frozen=True)
class SpoolEntry:
    """A picture that waits: a folder with the picture under its own name, and `entry.json`."""

    folder: Path
    filename: str
    captured_at: str
    idempotency_key: str

    @property
    def name(self) -> str:
        """Its name in the spool."""
        return self.folder.name

    @property
    def picture(self) -> Path:
        """The picture's file."""
        return self.folder / self.filename


class PictureSpool:
    """What is not delivered yet, in a folder. An entry is there as a whole or not at all, whatever ends us.

    Names that begin with a dot are entries on their way in or out; those of a former life are removed.
    `bytes` is about the size of all entries.
    """

    def __init__(self, folder: Path, refused: Path) -> None:
        self.folder, self.refused = folder, refused
        for each in (folder, refused):
            each.mkdir(parents=True, exist_ok=True)
        self._lock = (folder / ".lock").open("w")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._lock.close()
            raise BadSetup(f"another client works on {folder}") from None
        for left in (folder / _STAGING, *folder.glob(".out-*")):
            shutil.rmtree(left, ignore_errors=True)
        self.bytes = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())

    def close(self) -> None:
        """Let another client work on it."""
        self._lock.close()

    def names(self) -> list[str]:
        """The entries, the oldest picture first."""
        with os.scandir(self.folder) as found:
            return sorted(each.name for each in found if not each.name.startswith("."))

    def add(self, picture: Path, seen: os.stat_result) -> str | None:
        """Move a picture in; its entry's name. None where it is not as it was `seen` any more."""
        staging = self.folder / _STAGING
        shutil.rmtree(staging, ignore_errors=True)
        staging.mkdir()
        try:
            return self._moved(picture, staging, seen)
        finally:
            shutil.rmtree(staging, ignore_errors=True)

    def _moved(self, picture: Path, staging: Path, seen: os.stat_result) -> str | None:
        sha256, size = _copy(picture, staging / picture.name)
        now = picture.stat()
        if (now.st_mtime_ns, now.st_size, size) != (seen.st_mtime_ns, seen.st_size, seen.st_size):
            return None
        captured = datetime.fromtimestamp(now.st_mtime_ns // 1000 / 1e6, UTC)
        captured_at = captured.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        key = hashlib.sha256(f"{sha256} {captured_at}".encode()).hexdigest()
        name = f"{captured:%Y%m%dT%H%M%S.%f}-{key[:24]}"
        if not (self.folder / name).exists():  # else it came in before we were ended
            known = {"filename": picture.name, "captured_at": captured_at, "idempotency_key": key}
            _write(staging / ENTRY, json.dumps(known).encode())
            _sync(staging)
            staging.rename(self.folder / name)
            _sync(self.folder)
            self.bytes += size
        picture.unlink()
        return name

    def entry(self, name: str) -> SpoolEntry | None:
        """An entry; None for one that cannot be read any more, which is put to the refused ones."""
        folder = self.folder / name
        try:
            known = json.loads((folder / ENTRY).read_text())
            entry = SpoolEntry(folder, known["filename"], known["captured_at"], known["idempotency_key"])
            entry.picture.stat()
        except (OSError, ValueError, KeyError, TypeError) as error:
            self.refuse(name, f"the entry cannot be read: {error!r}")
            return None
        return entry

    def remove(self, name: str) -> None:
        """Forget a delivered picture."""
        leaving = self.folder / f".out-{name}"
        (self.folder / name).rename(leaving)
        _sync(self.folder)
        self.bytes -= sum(file.stat().st_size for file in leaving.iterdir())
        shutil.rmtree(leaving)

    def refuse(self, name: str, reason: str) -> None:
        """Put a picture that will never be accepted aside, with the reason."""
        folder = self.folder / name
        size = sum(file.stat().st_size for file in folder.iterdir())
        _write(folder / REASON, f"{reason}\n".encode())
        if (self.refused / name).exists():  # somebody gave it another try
            shutil.rmtree(self.refused / name)
        folder.rename(self.refused / name)
        self.bytes -= size
        _sync(self.refused)
        _sync(self.folder)


def _copy(picture: Path, to: Path) -> tuple[str, int]:
    """Copy a file for good; its sha256 and size."""
    sha256, size = hashlib.sha256(), 0
    with picture.open("rb") as source, to.open("wb") as target:
        while block := source.read(_BLOCK):
            sha256.update(block)
            size += len(block)
            target.write(block)
        target.flush()
        os.fsync(target.fileno())
    return sha256.hexdigest(), size


def _write(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _sync(folder: Path) -> None:
    """Make the names in a folder lasting."""
    number = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)
