"""The input pictures of `predict`, the files that it skips, and the paths of annotated copies."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from click import format_filename

from hotswap.errors import BadPicture, UnsupportedPicture
from manifest.tags import natural_key
from runners.image_header import sniff

#: Files of a folder with one of these suffixes are pictures; others only if their content is one.
_NAMES = "jpg jpeg jpe jfif jfi jif pjpeg pjp png apng webp bmp dib avif heic heif hif"
SUFFIXES = frozenset(f".{name}" for name in _NAMES.split())
_LONGEST_NAME = 180
#: Bytes that identify a picture's format; the most file names and reasons of the note on skipped files.
_FRONT, _MOST_NAMES, _MOST_REASONS = 4096, 3, 6
_SAVED = re.compile(r"\.annotated(-\d+)?$")


class SkippedFiles:
    """Skipped files by reason, and folders without a picture."""

    def __init__(self) -> None:
        self.folders: list[Path] = []
        self._names: dict[str, list[str]] = {}
        self._counts: Counter[str] = Counter()

    def add(self, file: Path, reason: str) -> None:
        """Count a file; the names of the first few per reason are kept."""
        self._counts[reason] += 1
        if len(names := self._names.setdefault(reason, [])) < _MOST_NAMES:
            names.append(format_filename(file.name))

    @property
    def count(self) -> int:
        """Number of files."""
        return self._counts.total()

    def summary(self) -> str:
        """The files for people: the first names of each reason, their number, and the reason."""
        reasons = self._counts.most_common(_MOST_REASONS)
        more = [f"and {len(self._counts) - _MOST_REASONS} more reasons"][: len(self._counts) > _MOST_REASONS]
        return "; ".join([*(f"{self._few(reason)} ({reason})" for reason, _ in reasons), *more])

    def _few(self, reason: str) -> str:
        rest = self._counts[reason] - len(self._names[reason])
        return ", ".join(self._names[reason]) + (f" and {rest} more" if rest else "")


def pictures(paths: Sequence[Path], skipped: SkippedFiles | None = None) -> list[Path]:
    """The files, and the pictures of the folders, in natural order, without duplicates.

    Hidden names and linked folders inside a folder are ignored. Other files that are not pictures, and
    pictures saved by earlier calls, are added to `skipped`.
    """
    skipped = SkippedFiles() if skipped is None else skipped
    chosen: dict[str, Path] = {}
    for path in paths:
        files = list(_inside(path, skipped)) if path.is_dir() else [path]
        for file in files:
            chosen.setdefault(os.path.realpath(file), file)
        if not files:
            skipped.folders.append(path)
    return list(chosen.values())


def _inside(folder: Path, skipped: SkippedFiles) -> Iterator[Path]:
    for place, folders, files in os.walk(folder):
        folders[:] = sorted((name for name in folders if not name.startswith(".")), key=natural_key)
        for name in sorted(files, key=natural_key):
            file = Path(place, name)
            if name.startswith("."):
                continue
            if reason := _why_not(file):
                skipped.add(file, reason)
            else:
                yield file


def _why_not(file: Path) -> str | None:
    """The reason to skip a file of a folder; None for a picture."""
    if _SAVED.search(file.stem):
        return "saved by an earlier call"
    return None if file.suffix.lower() in SUFFIXES else _no_picture(file)


def _no_picture(file: Path) -> str | None:
    """Why a file is not a picture, judged by its first bytes; None for a picture."""
    if not file.is_file():  # opening a pipe would wait for its writer
        return "not a regular file"
    try:
        with file.open("rb") as opened:
            sniff(opened.read(_FRONT))
    except UnsupportedPicture as other:
        return other.message.partition(";")[0]
    except BadPicture:
        return "not a picture"
    except OSError as error:
        return error.strerror or str(error)
    return None


def places(files: Sequence[Path], folder: Path, suffix: str) -> dict[Path, Path]:
    """A distinct path in `folder` for each file, the same at every call and never that of an input.

    `a/x.jpg` and `b/x.png` become `x.annotated.jpg` and `x.annotated-2.jpg`.
    """
    taken = {path.casefold() for file in files for path in (str(_entry(file)), os.path.realpath(file))}
    chosen: dict[Path, Path] = {}
    for file in files:
        chosen[file] = next(
            place for place in _names(file, folder, suffix) if str(_entry(place)).casefold() not in taken
        )
        taken.add(str(_entry(chosen[file])).casefold())
    return chosen


def _names(file: Path, folder: Path, suffix: str) -> Iterator[Path]:
    stem = os.fsencode(file.stem)[:_LONGEST_NAME].decode(errors="ignore") or "picture"
    number = 1
    while True:
        yield folder / f"{stem}.annotated{'' if number == 1 else f'-{number}'}{suffix}"
        number += 1


def _entry(path: Path) -> Path:
    """The real path of the directory entry itself; a link is not followed."""
    return Path(os.path.realpath(path.parent), path.name)
