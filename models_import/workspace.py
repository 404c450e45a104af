"""`$BENTOML_HOME/staging`: where a version is made whole before the store shows it.

It is not inside `models/`, because BentoML takes every folder there for a model and its `list` dies of
names that are none.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from common.files import sync
from models_import.errors import ImportUnavailable
from models_import.progress import ImportProgress

_LOCK = "import.lock"
FOLDER_MODE = 0o755
FILE_MODE = 0o644


class Workspace:
    """The staging folder of one home, and the lock that makes one importer at a time its owner."""

    def __init__(self, home: Path) -> None:
        self._folder = home / "staging"
        self._models = home / "models"

    @contextmanager
    def locked(self, report: ImportProgress) -> Iterator[None]:
        """Wait for the lock and hold it; it ends with the process, however that ends."""
        if not self._models.is_dir():
            self._models.mkdir(parents=True, exist_ok=True)
            self._models.chmod(FOLDER_MODE)
        self._folder.mkdir(exist_ok=True)
        self._check_same_disk()
        handle = os.open(self._folder / _LOCK, os.O_RDWR | os.O_CREAT, FILE_MODE)
        try:
            _lock(handle, report)
            yield
        finally:
            os.close(handle)

    def _check_same_disk(self) -> None:
        if self._folder.stat().st_dev != self._models.stat().st_dev:
            raise ImportUnavailable(
                f"{self._folder} and {self._models} are different file systems, so a version cannot appear "
                "there in one step: mount the whole home as one, not only its models"
            )

    def sweep(self) -> None:
        """Remove what interrupted imports left. Only for the holder of the lock."""
        for left in self._folder.iterdir():
            if left.name == _LOCK:
                continue
            if left.is_dir() and not left.is_symlink():
                shutil.rmtree(left, ignore_errors=True)
            else:
                left.unlink(missing_ok=True)

    @contextmanager
    def room(self) -> Iterator[Path]:
        """A fresh folder, gone afterwards."""
        folder = Path(tempfile.mkdtemp(dir=self._folder))
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def left_out(self, text: str) -> str:
        """A text for people, in which a staged file is told by its place in the version's folder."""
        rooms = re.escape(f"{self._folder}/") + r"[^/\s]+/(?:version/|home/models/[^/\s]+/[^/\s]+/)?"
        return re.sub(rooms, "", text)

    def free_bytes(self) -> int:
        """How much this user may still write."""
        status = os.statvfs(self._folder)
        return status.f_bavail * status.f_frsize


def _lock(handle: int, report: ImportProgress) -> None:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        report.waiting("another import to finish")
        fcntl.flock(handle, fcntl.LOCK_EX)


def sync_tree(folder: Path) -> None:
    """Make every file below `folder`, and its name, durable."""
    for place, _, files in os.walk(folder, topdown=False):
        for name in files:
            sync(Path(place) / name)
        sync(Path(place))


def open_modes(folder: Path) -> None:
    """Let every user read what lies below `folder`, whatever the umask was."""
    for place, _, files in os.walk(folder):
        Path(place).chmod(FOLDER_MODE)
        for name in files:
            (Path(place) / name).chmod(FILE_MODE)
