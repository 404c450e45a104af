"""A look at a drop folder, `NAME/VERSION/…` and archives: what is there, and whether it may be whole.

No file is read and no link followed that leads out. Equal stamps of two looks mean that nothing changed.
"""

from __future__ import annotations

import hashlib
import os
import stat
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from pathlib import Path

from common.text import plain
from hotswap.manifest import CONFIG_FILE, BadManifest
from hotswap.tags import BadTag, ModelTag, as_version, natural_key
from models_import import reasons
from models_import.candidates import is_version
from models_import.file_kinds import ARCHIVES, by_name, first_foreign
from models_import.fingerprints import stamp_of
from models_import.integrity import inside
from models_import.layout import MOST_FILES, NOTE, LeadsOut, files_in, is_hidden, pick_weights
from models_import.workspace import FILE_MODE

#: Endings that programs give a file while they copy it, or keep of one that they have changed.
_PARTIAL = (".part", ".partial", ".filepart", ".crdownload", ".download", ".tmp")
_BACKUP = "~"
#: What is none of a version is told of so many, and of the others how many they are.
_MOST_ODD = 100

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
    """One version in a drop folder. An archive alone knows its `tag`; `lacks` says what time may bring."""

    path: Path
    tag: ModelTag | None
    stamp: str
    lacks: str | None = None

    @property
    def note(self) -> Path:
        """Where people are told why it did not come in."""
        if self.tag is None:
            return self.path.with_name(f"{self.path.name}.{NOTE}")
        return self.path / NOTE

    def __str__(self) -> str:
        return plain(str(self.path), 500)


@dataclass(frozen=True, slots=True)
class DropScan:
    """Versions by path, each model's in natural order; what is none, and why; the folders that were seen."""

    versions: Mapping[str, Dropped]
    odd: Mapping[str, str]
    folders: tuple[Path, ...]


class _Odd(Exception):
    """Why something can't be a version, whatever time brings."""


def look(root: Path) -> DropScan | None:
    """What lies in `root`; None when it is away or cannot be read."""
    versions: dict[str, Dropped] = {}
    odd: dict[str, str] = {}
    folders = [root]
    try:
        first = _children(root)
    except OSError:
        return None
    for path in _versions(root, first, odd, folders):
        try:
            versions[str(path)] = scan_of(root, path)
        except _Odd as error:
            odd[str(path)] = str(error)
        except Exception as error:  # noqa: BLE001 - one version can never stop the others
            odd[str(path)] = reasons.unforeseen(error)
    return DropScan(versions, _bounded(root, odd), tuple(folders))


def _bounded(root: Path, odd: dict[str, str]) -> dict[str, str]:
    if len(odd) <= _MOST_ODD:
        return odd
    rest = f"{len(odd) - _MOST_ODD} more of its files and folders are no versions; {_where(root)}"
    return dict(islice(odd.items(), _MOST_ODD)) | {str(root): rest}


def _versions(root: Path, first: list[Path], odd: dict[str, str], folders: list[Path]) -> Iterator[Path]:
    """The archives in `root`, and what lies where versions lie."""
    archives = [path for path in first if _is_archive(path)]
    yield from archives
    for model in _folders(root, [path for path in first if path not in archives], odd):
        folders.append(model)
        try:
            found = list(_folders(root, _in_model(root, model, odd), odd))
        except OSError as error:
            odd[str(model)] = _reason(model, error)
            continue
        folders.extend(found)
        for path in found:
            if _is_empty(path):
                odd[str(path)] = _misses_all(root, path)
            else:
                yield path


def _in_model(root: Path, model: Path, odd: dict[str, str]) -> list[Path]:
    """What is looked at in a folder that may be a model's."""
    children = _children(model)
    if is_version(model):
        odd[str(model)] = f"it holds a version itself; {_where(root)}"
        return [path for path in children if path.is_dir()]
    if not children:
        odd[str(model)] = f"it is empty; {_where(root)}"
    return children


def _folders(root: Path, paths: Iterable[Path], odd: dict[str, str]) -> Iterator[Path]:
    """Those that are folders in `root`. One that is none can never stop the others."""
    for path in paths:
        try:
            why = _no_folder(root, path)
        except OSError as error:
            why = _reason(path, error)
        if why is None:
            yield path
        else:
            odd[str(path)] = why


def _no_folder(root: Path, path: Path) -> str | None:
    """Why something is no folder to look into."""
    if path.is_symlink():
        if not inside(root, path):
            return _LEADS_OUT
        if path.is_dir() and _is_seen(root, path.resolve()):
            return _ALIAS
    mode = path.stat().st_mode
    if stat.S_ISDIR(mode):
        return None
    if not stat.S_ISREG(mode):
        return "it is neither a file nor a folder"
    kind = by_name(path.name)
    what = kind.sentence("it", "is, by its name,") if kind else "it is no version"
    return f"{what}; {_where(root)}"


def _is_seen(root: Path, real: Path) -> bool:
    """Whether a folder lies where models or versions lie, and so is looked at by its own name."""
    parts = real.relative_to(root.resolve()).parts
    return len(parts) <= 2 and not any(map(_is_ignored, parts))


def _misses_all(root: Path, folder: Path) -> str:
    """Why a folder that lies where versions lie is none."""
    children = _children(folder)
    inner = next((path.name for path in children if path.is_dir() and not _is_empty(path)), None)
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
    """What lies in a folder, without what nobody takes for a version."""
    found = [path for path in folder.iterdir() if not _is_ignored(path.name)]
    return sorted(found, key=lambda path: (natural_key(as_version(path.name)), path.name))


def _is_ignored(name: str) -> bool:
    """Whether something is hidden, being copied, left by a system or a program, or a note of ours."""
    return is_hidden(name) or name.lower().endswith((*_PARTIAL, _BACKUP)) or name.endswith(NOTE)


def _is_archive(path: Path) -> bool:
    return path.name.lower().endswith(ARCHIVES) and os.path.isfile(path)  # noqa: PTH113 - raises for no path


def _is_empty(folder: Path) -> bool:
    """Whether nothing in a folder looks like a version; one that cannot be read may be one."""
    try:
        return not is_version(folder)
    except OSError:
        return False


def scan_of(root: Path, path: Path) -> Dropped:
    """One version as it is now. Raises `_Odd` for what cannot be one."""
    if not inside(root, path):
        raise _Odd(_LEADS_OUT)
    tag = None if _is_archive(path) else _tag(path)
    try:
        files = {path.name: path} if tag is None else _files(path)
        return Dropped(path, tag, _stamp(files), None if tag is None else _lacks(files))
    except (OSError, LeadsOut) as error:
        reason = _reason(path, error)
        return Dropped(path, tag, reason, reason)


def _tag(path: Path) -> ModelTag:
    try:
        return ModelTag(path.parent.name.lower(), as_version(path.name))
    except BadTag as error:
        raise _Odd(f"{plain(str(error), 500)}; give the folder another name") from None


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
        return f"no {CONFIG_FILE}, and pre-processing is never guessed: put one there"
    try:
        pick_weights([name for name in files if not is_hidden(name)])
    except BadManifest as error:
        return str(error)
    return None


def _reason(path: Path, error: Exception) -> str:
    if isinstance(error, PermissionError):
        return f"it cannot be read by this user: `chmod -R a+rX {plain(str(path), 500)}`"
    if isinstance(error, OSError) and path.is_symlink():
        return f"it is a link to {plain(str(path.readlink()), 500)}, which cannot be read ({error.strerror})"
    if isinstance(error, OSError):
        where = plain(str(error.filename or path), 500)
        return f"it cannot be read: {error.strerror or error} ({where})"
    return plain(str(error), 1000)


def unwritten(dropped: Dropped) -> str | None:
    """Which file has its size but not its last bytes: some programs set the size before they copy."""
    for path in [dropped.path] if dropped.tag is None else _files(dropped.path).values():
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            size = os.fstat(handle).st_size
            if size and _ends_in_hole(handle, size):
                name = plain(path.name, 200)
                return f"the last bytes of {name} were never written: copy it again, without holes"
        finally:
            os.close(handle)
    return None


def _ends_in_hole(handle: int, size: int) -> bool:
    try:
        return os.lseek(handle, size - 1, os.SEEK_HOLE) < size
    except (OSError, AttributeError):
        return False  # a system, or a file system, that does not tell


_MEND = (
    "Mend the files here; or, if it is another version, give the folder another name. "
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


def write(note: Path, words: str) -> None:
    """Write a note in one step. Raises `OSError`."""
    handle, name = tempfile.mkstemp(prefix=f".{NOTE}.", dir=note.parent)
    scratch = Path(name)
    try:
        with os.fdopen(handle, "w", encoding="utf-8", errors="backslashreplace") as file:
            os.fchmod(handle, FILE_MODE)
            file.write(words)
        scratch.replace(note)
    except BaseException:
        with suppress(OSError):
            scratch.unlink()
        raise


def take_back(note: Path) -> bool:
    """Remove a note, and what a killed writer left; whether there was one. Raises `OSError`."""
    for left in note.parent.glob(f".{NOTE}.*"):
        left.unlink(missing_ok=True)
    # On a read-only mount even removing what is not there fails.
    there = os.path.lexists(note)
    if there:
        note.unlink(missing_ok=True)
    return there
