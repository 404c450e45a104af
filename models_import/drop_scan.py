"""A look at a drop folder, `NAME/VERSION/…` and archives: what is there, and whether it may be whole.

No file is read and no link followed that leads out. Equal stamps of two looks mean that nothing changed.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from glob import escape
from itertools import islice
from pathlib import Path

from common.text import plain
from manifest.tags import BadTag, ModelTag, as_version, natural_key
from manifest.version_manifest import CONFIG_FILE, BadManifest
from models_import import reasons
from models_import.candidates import is_version
from models_import.file_kinds import ARCHIVES, by_name, first_foreign
from models_import.fingerprints import stamp_of
from models_import.integrity import inside
from models_import.layout import MOST_FILES, NOTE, LeadsOut, files_in, is_hidden, pick_weights

#: Endings that programs give a file while they copy it, or keep of one that they have changed.
_PARTIAL = (".part", ".partial", ".filepart", ".crdownload", ".download", ".tmp")
_BACKUP = "~"

_LEADS_OUT = (
    "it is a link that leads out of the watched folder, and such are not followed; "
    "put there what it leads to, as `cp -rL` does"
)
_ALIAS = (
    "it is a link, and a link is no version of its own: what it leads to comes in by its own name; "
    "`okawari pin NAME VERSION` sets the version that serves"
)


@dataclass(frozen=True, slots=True)
class Dropped:
    """One entry of a drop folder, as it is now.

    An archive alone knows its `tag`. `lacks` says what time may bring; where `possible` is false, why the
    entry can be no version.
    """

    path: Path
    tag: ModelTag | None
    stamp: str
    lacks: str | None = None
    possible: bool = True

    @property
    def note(self) -> Path:
        """The note with the reason why it was not imported."""
        if self.tag is None:
            return self.path.with_name(f"{self.path.name}.{NOTE}")
        return self.path / NOTE

    def __str__(self) -> str:
        return plain(str(self.path), 500)


class _NoVersion(Exception):
    """Why something can't be a version, whatever time brings."""


class DropScan:
    """What lies in a drop folder: `entries` by path, each model's in natural order; the `folders` seen."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self.entries: dict[str, Dropped] = {}
        self.folders: list[Path] = []
        children = _children(root)
        self.folders.append(root)
        for path in children:
            with self._passed_over(path):
                if _is_archive(path):
                    self.entries[str(path)] = scan_of(root, path)
                else:
                    self._add_model(path)

    def _add_model(self, model: Path) -> None:
        _check_folder(self._root, model)
        self.folders.append(model)
        children = _children(model)
        if is_version(model):
            self._pass_over(model, f"it holds a version itself; {_where(self._root)}")
            children = [path for path in children if path.is_dir()]
        elif not children:
            raise _NoVersion(f"it is empty; {_where(self._root)}")
        for path in children:
            with self._passed_over(path):
                _check_folder(self._root, path)
                self.folders.append(path)
                self.entries[str(path)] = scan_of(self._root, path)

    @contextmanager
    def _passed_over(self, path: Path) -> Iterator[None]:
        """One entry can never stop the others."""
        try:
            yield
        except _NoVersion as error:
            self._pass_over(path, str(error))
        except OSError as error:
            self._pass_over(path, _reason(path, error))
        except Exception as error:  # noqa: BLE001 - a foreign library may meet something unforeseen
            self._pass_over(path, reasons.unforeseen(error))

    def _pass_over(self, path: Path, why: str) -> None:
        self.entries[str(path)] = Dropped(path, None, why, why, possible=False)


def look(root: Path) -> DropScan | None:
    """What lies in `root`; None when it is away or cannot be read."""
    try:
        return DropScan(root)
    except OSError:
        return None


def scan_of(root: Path, path: Path) -> Dropped:
    """One version as it is now. Raises `_NoVersion` for what cannot be one."""
    if not inside(root, path):
        raise _NoVersion(_LEADS_OUT)
    tag = None
    try:
        if _is_archive(path):
            return Dropped(path, None, _stamp({path.name: path}))
        tag = _tag(path)
        if not is_version(path):
            raise _NoVersion(_misses_all(root, path))
        files = _files(path)
        return Dropped(path, tag, _stamp(files), _lacks(files))
    except (OSError, LeadsOut) as error:
        reason = _reason(path, error)
        return Dropped(path, tag, reason, reason)


def has_changed(root: Path, dropped: Dropped) -> bool:
    """Whether it is no more what it was when it was scanned."""
    try:
        return scan_of(root, dropped.path).stamp != dropped.stamp
    except _NoVersion:
        return True


def _check_folder(root: Path, path: Path) -> None:
    """Raise `_NoVersion` for what is no folder to look into."""
    if path.is_symlink():
        if not inside(root, path):
            raise _NoVersion(_LEADS_OUT)
        if path.is_dir() and _is_seen(root, path.resolve()):
            raise _NoVersion(_ALIAS)
    mode = path.stat().st_mode
    if stat.S_ISREG(mode):
        kind = by_name(path.name)
        what = kind.sentence("it", "is, by its name,") if kind else "it is no version"
        raise _NoVersion(f"{what}; {_where(root)}")
    if not stat.S_ISDIR(mode):
        raise _NoVersion("it is neither a file nor a folder")


def _is_seen(root: Path, real: Path) -> bool:
    """Whether a folder lies where models or versions lie, and so is looked at by its own name."""
    parts = real.relative_to(root.resolve()).parts
    return len(parts) <= 2 and not any(map(_is_ignored, parts))


def _misses_all(root: Path, folder: Path) -> str:
    """Why a folder that lies where versions lie is none."""
    children = _children(folder)
    inner = next((path.name for path in children if path.is_dir() and is_version(path)), None)
    if inner is not None:
        return f"a version lies too deep in it: move what is in its folder {plain(inner, 200)} one up"
    foreign = first_foreign(path.name for path in children)
    return foreign or f"it holds no .onnx and no {CONFIG_FILE}; {_where(root)}"


def _where(root: Path) -> str:
    return (
        f"a version lies in {root}/NAME/VERSION, its .onnx with its {CONFIG_FILE}; "
        f"an archive that BentoML exported, in {root}"
    )


def _children(folder: Path) -> list[Path]:
    """What lies in a folder, without what is clearly no version."""
    found = [path for path in folder.iterdir() if not _is_ignored(path.name)]
    return sorted(found, key=lambda path: (natural_key(as_version(path.name)), path.name))


def _is_ignored(name: str) -> bool:
    """Whether something is hidden, being copied, left by a system or a program, or a note of ours."""
    return is_hidden(name) or name.lower().endswith((*_PARTIAL, _BACKUP)) or name.endswith(NOTE)


def _is_archive(path: Path) -> bool:
    return path.name.lower().endswith(ARCHIVES) and os.path.isfile(path)  # noqa: PTH113 - raises for no path


def _tag(path: Path) -> ModelTag:
    try:
        return ModelTag(path.parent.name.lower(), as_version(path.name))
    except BadTag as error:
        raise _NoVersion(f"{plain(str(error), 500)}; give the folder another name") from None


def _files(folder: Path) -> dict[str, Path]:
    """Every file of a version's folder, hidden ones too, but not our own."""
    os.scandir(folder).close()  # a walk passes over what it may not read
    found = islice(files_in(folder), MOST_FILES + 1)
    return {name: path for name, path in found if name != NOTE and not name.startswith(f".{NOTE}")}


def _stamp(files: Mapping[str, Path]) -> str:
    """One short word for names, sizes and times of all files, however many there are.

    Inodes do not count: some network mounts give a file another one at every look.
    """
    digest = hashlib.sha256()
    for name, path in files.items():
        digest.update(repr((name, *stamp_of(path.stat())[1:])).encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def _lacks(files: Mapping[str, Path]) -> str | None:
    """What a version needs before it can be tried at all."""
    if len(files) > MOST_FILES:
        return f"it holds more than {MOST_FILES} files: put only what the model needs there"
    if partial := next((name for name in files if name.lower().endswith(_PARTIAL)), None):
        return f"{plain(partial, 200)} is, by its name, a file that is still being copied"
    if CONFIG_FILE not in files:
        return (
            f"no {CONFIG_FILE}, and pre-processing is never guessed: put one there "
            "(`okawari config infer` makes a first one)"
        )
    try:
        pick_weights([name for name in files if not is_hidden(name)], None)
    except BadManifest as error:
        return str(error)
    return None


def _reason(path: Path, error: Exception) -> str:
    if not isinstance(error, OSError):
        return plain(str(error), 1000)
    if path.is_symlink() and not isinstance(error, PermissionError):
        return f"it is a link to {plain(str(path.readlink()), 500)}, which cannot be read ({error.strerror})"
    return f"it {reasons.unreadable(path, error)}"


def unwritten(dropped: Dropped) -> str | None:
    """Which file has its size but not its last bytes: some programs set the size before they copy."""
    for path in [dropped.path] if dropped.tag is None else _files(dropped.path).values():
        with path.open("rb") as file, suppress(OSError):  # a file system that does not say
            size = os.fstat(file.fileno()).st_size
            if size and os.lseek(file.fileno(), size - 1, os.SEEK_HOLE) < size:
                name = plain(path.name, 200)
                return f"the last bytes of {name} were never written: copy it again, without holes"
    return None


_MEND = (
    "Repair the files here; or, if it is another version, give the folder another name. "
    "It is tried again as soon as a file here changes."
)
_WAIT = "Nothing here: it is not the version's fault. It is tried again by itself, every minute or sooner."


def text(what: str, why: str, when: datetime, *, hindered: bool) -> str:
    """What, why, what to do, and when, in words for people."""
    return (
        f"What:  {what} was not imported. What served before goes on serving.\n"
        f"Why:   {' '.join(why.split())}\n"
        f"To do: {_WAIT if hindered else _MEND}\n"
        f"       This note goes away by itself when the version has been imported.\n"
        f"When:  {when:%Y-%m-%d %H:%M:%S} UTC\n"
    )


def take_back(note: Path) -> bool:
    """Remove a note, and what a killed writer left; whether there was one. Raises `OSError`."""
    for left in note.parent.glob(f".{escape(note.name)}.*"):
        left.unlink(missing_ok=True)
    # On a read-only mount even removing what is not there fails.
    there = os.path.lexists(note)
    if there:
        note.unlink(missing_ok=True)
    return there
