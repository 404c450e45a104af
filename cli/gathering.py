"""Which pictures are meant, and where their annotated copies go."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from hotswap.tags import natural_key

#: What a folder is searched for; a file that is named itself may be called anything.
SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp"})
_LONGEST_NAME = 180
_SAVED = re.compile(r"\.annotated(-\d+)?$")


def pictures(paths: Sequence[Path]) -> list[Path]:
    """The files, and the pictures of the folders, in natural order; each once.

    In folders, hidden names, folders behind links and what earlier calls have saved are passed over.
    """
    found: dict[str, Path] = {}
    for path in paths:
        for file in _inside(path) if path.is_dir() else [path]:
            found.setdefault(os.path.realpath(file), file)
    return list(found.values())


def _inside(folder: Path) -> Iterator[Path]:
    for place, folders, files in os.walk(folder):
        folders[:] = sorted((name for name in folders if not name.startswith(".")), key=natural_key)
        yield from (Path(place, name) for name in sorted(files, key=natural_key) if _is_picture(name))


def _is_picture(name: str) -> bool:
    path = Path(name)
    passed = name.startswith(".") or _SAVED.search(path.stem)
    return not passed and path.suffix.lower() in SUFFIXES


def places(files: Sequence[Path], folder: Path, suffix: str) -> dict[Path, Path]:
    """For each file a name of its own in `folder`: never an input's, never outside, the same every time.

    `a/x.jpg` and `b/x.png` become `x.annotated.jpg` and `x.annotated-2.jpg`.
    """
    taken = {each.casefold() for file in files for each in (str(_entry(file)), os.path.realpath(file))}
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
    """Where the name itself stands, whatever it leads to."""
    return Path(os.path.realpath(path.parent), path.name)
