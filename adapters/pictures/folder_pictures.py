"""Pictures in a folder: written beside their place, made durable, and linked there under their name."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from adapters.pictures.commit_hash import commit_hash
from adapters.pictures.object_paths import checked_path, checked_prefix
from common.files import sync
from lineage.errors import BadPicturePlace, PathTaken, PictureNotFound, PicturesUnavailable
from lineage.picture_store import StoredObject

#: Where files are written before they have their name. Hidden names are no objects.
_INCOMING = ".incoming"
#: Seconds after which such a file belongs to a process that was killed.
_ABANDONED = 3600.0
#: How often a folder that was removed as empty in the same moment is made anew.
_ATTEMPTS = 5

#: Gives a file another name.
Mover = Callable[[Path, Path], None]


class FolderPictures:
    """The `PictureStore` of a folder, whose files survive a loss of power. Object metadata is not kept.

    A commit makes nothing more lasting than it was: its id is the hash of its message and metadata.
    """

    def __init__(self, root: Path, may_make: Callable[[], bool] | None = None) -> None:
        """Make the folder where it is absent. Raises `PicturesUnavailable`.

        With `may_make` nothing is done before the first use, and a folder that is absent is made only where
        that says so: one that should hold pictures lies on a disk that is not mounted.
        """
        self._root = root.absolute()
        self._incoming = self._root / _INCOMING
        self._may_make = may_make
        if may_make is None:
            with self._explained():
                self._incoming.mkdir(parents=True, exist_ok=True)
            self.check()

    @property
    def name(self) -> str:
        return str(self._root)

    def put(self, path: str, data: bytes, metadata: Mapping[str, str]) -> None:  # noqa: ARG002 - see the class
        target = self._file(path)
        self._require()
        with self._explained(), self._written(data) as temporary:
            try:
                self._place(temporary, target, os.link)
            except FileExistsError:
                self._compare(target, path, data)
                # Who linked it may have been killed before its name was durable.
                sync(target.parent)

    def replace(self, path: str, data: bytes) -> None:
        target = self._file(path)
        self._require()
        with self._explained(), self._written(data) as temporary:
            self._place(temporary, target, os.replace)

    def get(self, path: str) -> bytes:
        target = self._file(path)
        with self._explained():
            try:
                return _bytes_of(target)
            except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
                self._require()
                raise PictureNotFound(f"nothing lies at {path} in {self.name}") from None

    def delete(self, paths: Iterable[str]) -> None:
        folders = set[Path]()
        with self._explained():
            self._require()
            for file in map(self._file, paths):
                with suppress(FileNotFoundError, NotADirectoryError):
                    file.unlink()
                    folders.add(file.parent)
            for folder in folders:
                sync(folder)
                self._remove_empty(folder)

    def objects(self, prefix: str = "") -> Iterator[StoredObject]:
        start = checked_prefix(prefix).rpartition("/")[0]
        with self._explained():
            self._require()
            folder = self._file(start) if start else self._root
            yield from self._below(folder, f"{start}/" if start else "", prefix)

    def commit(self, message: str, metadata: Mapping[str, str]) -> str:
        self.check()
        return commit_hash(message, metadata)

    def check(self) -> None:
        """Return when the folder can be written; remove what killed processes have left in it."""
        with self._explained():
            self._require()
            if not os.access(self._incoming, os.W_OK | os.X_OK):
                raise PicturesUnavailable(f"the picture folder {self.name} cannot be written")
            self._remove_abandoned()

    def close(self) -> None:
        pass

    def _require(self) -> None:
        if self._incoming.is_dir():
            return
        # A folder whose disk is not mounted would be filled beside it.
        if self._may_make is None or not self._may_make():
            raise PicturesUnavailable(f"the picture folder {self.name} is not there: is its disk mounted?")
        with self._explained():
            self._incoming.mkdir(parents=True, exist_ok=True)

    def _remove_abandoned(self) -> None:
        oldest = time.time() - _ABANDONED
        for file in self._incoming.iterdir():
            with suppress(FileNotFoundError):
                if file.stat().st_mtime < oldest:
                    file.unlink()

    def _file(self, path: str) -> Path:
        """Where an object lies. Raises `BadPicturePlace` where a link leads out of the store."""
        file = self._root / checked_path(path)
        try:
            inside = file.parent.resolve().is_relative_to(self._root.resolve())
        except (OSError, RuntimeError):  # links in a circle
            inside = False
        if not inside:
            raise BadPicturePlace(f"{path!r} leads out of the picture folder {self.name}")
        return file

    @contextmanager
    def _written(self, data: bytes) -> Iterator[Path]:
        """A durable file without a name among the objects; removed afterwards."""
        handle, name = tempfile.mkstemp(dir=self._incoming)
        temporary = Path(name)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                file.flush()
                os.fchmod(handle, 0o644)
                os.fsync(handle)
            yield temporary
        finally:
            temporary.unlink(missing_ok=True)

    def _place(self, temporary: Path, target: Path, move: Mover) -> None:
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                self._make_folder(target.parent)
                move(temporary, target)
                sync(target.parent)
                return
            except FileNotFoundError:
                if attempt == _ATTEMPTS:
                    raise

    def _make_folder(self, folder: Path) -> None:
        """Make a folder and those above it; their names are durable when this returns."""
        if folder == self._root or folder.is_dir():
            return
        self._make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        sync(folder.parent)

    def _remove_empty(self, folder: Path) -> None:
        with suppress(OSError):  # it is not empty, or another process was faster
            while folder != self._root:
                folder.rmdir()
                folder = folder.parent

    def _compare(self, target: Path, path: str, data: bytes) -> None:
        if _bytes_of(target) != data:
            raise PathTaken(f"another picture lies at {path} in {self.name}")

    def _below(self, folder: Path, beginning: str, prefix: str) -> Iterator[StoredObject]:
        """The objects in a folder, whose paths begin with `beginning`, and in the folders in it."""
        for name, entry in _entries(folder):
            path = f"{beginning}{name}"
            if name.endswith("/"):
                if path.startswith(prefix) or prefix.startswith(path):
                    yield from self._below(Path(entry.path), path, prefix)
            elif path.startswith(prefix):
                with suppress(FileNotFoundError):
                    status = entry.stat(follow_symlinks=False)
                    yield StoredObject(path, status.st_size, datetime.fromtimestamp(status.st_mtime, UTC))

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            problem = error.strerror or str(error)
            raise PicturesUnavailable(f"the picture folder {self.name} cannot be used: {problem}") from None


def _bytes_of(file: Path) -> bytes:
    """Raises `OSError`, also for a link."""
    with os.fdopen(os.open(file, os.O_RDONLY | os.O_NOFOLLOW), "rb") as opened:
        return opened.read()


def _entries(folder: Path) -> list[tuple[str, os.DirEntry[str]]]:
    """What lies in a folder, folders with `/` at their end, in the order of the paths below; no links."""
    try:
        with os.scandir(folder) as entries:
            visible = [entry for entry in entries if not entry.name.startswith(".")]
    except (FileNotFoundError, NotADirectoryError):
        return []
    files = [(entry.name, entry) for entry in visible if entry.is_file(follow_symlinks=False)]
    folders = [(f"{entry.name}/", entry) for entry in visible if entry.is_dir(follow_symlinks=False)]
    return sorted(files + folders, key=lambda named: named[0])
