"""`$BENTOML_HOME/staging`: versions are completed here before they appear in the store.

It is outside `models/`, because BentoML takes every folder there for a model, and its `list` fails on
invalid names.
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
    """The staging folder of one home, and the lock that admits one importer at a time."""

    def __init__(self, home: Path) -> None:
        self._folder = home / "staging"
        self._models = home / "models"

    @contextmanager
    def locked(self, report: ImportProgress) -> Iterator[None]:
        """Wait for the lock and hold it; it is released when the process ends, also after a crash."""
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
                f"{self._folder} and {self._models} are on different file systems, so a version cannot be "
                "published in one step: mount the whole home as one, not only its models"
            )

    def sweep(self) -> None:
        """Remove leftovers of interrupted imports. Call it with the lock held."""
        for left in self._folder.iterdir():
            if left.name == _LOCK:
                continue
            if left.is_dir() and not left.is_symlink():
                shutil.rmtree(left, ignore_errors=True)
            else:
                left.unlink(missing_ok=True)

    @contextmanager
    def scratch_folder(self) -> Iterator[Path]:
        """A new folder, removed afterwards."""
        folder = Path(tempfile.mkdtemp(dir=self._folder))
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def without_staging(self, text: str) -> str:
        """A text in which paths of staged files are relative to the version's folder."""
        prefix = re.escape(f"{self._folder}/") + r"[^/\s]+/(?:version/|home/models/[^/\s]+/[^/\s]+/)?"
        return re.sub(prefix, "", text)

    def free_bytes(self) -> int:
        """The free bytes for this user."""
        status = os.statvfs(self._folder)
        return status.f_bavail * status.f_frsize


def _lock(handle: int, report: ImportProgress) -> None:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        report.waiting("another import to finish")
        fcntl.flock(handle, fcntl.LOCK_EX)


def sync_tree(folder: Path) -> None:
    """Make all files below `folder`, and their names, durable."""
    for place, _, files in os.walk(folder, topdown=False):
        for name in files:
            sync(Path(place) / name)
        sync(Path(place))


def open_modes(folder: Path) -> None:
    """Make all files below `folder` readable for every user, independently of the umask."""
    for place, _, files in os.walk(folder):
        Path(place).chmod(FOLDER_MODE)
        for name in files:
            (Path(place) / name).chmod(FILE_MODE)
