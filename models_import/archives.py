"""How large an archive becomes, by its headers, before anything is written."""

from __future__ import annotations

import os
import posixpath
import resource
import signal
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from models_import import subprocesses
from models_import.errors import ImportRefused
from models_import.layout import MODEL_YAML

#: What an archive of a model stays below.
_MOST_MEMBERS = 10_000


class TooLarge(Exception):
    """An archive holds more than it may."""


def check_unpacked(path: str, kind: str, most: int) -> bool:
    """Whether an archive holds a `model.yaml` at its top, as one that BentoML exported does.

    Raises `TooLarge` for one of more than `most` bytes or very many files, and what its libraries raise for
    what is no archive.
    """
    total, exported = 0, False
    for number, (name, size) in enumerate(_zip_members(path) if kind == "zip" else _tar_members(path)):
        total += size
        exported |= name == MODEL_YAML
        if total > most:
            raise TooLarge(f"unpacked it has at least {_mega(total)} MB, allowed are {_mega(most)} MB")
        if number >= _MOST_MEMBERS:
            raise TooLarge(f"it holds more than {_MOST_MEMBERS} files")
    return exported


def _zip_members(path: str) -> Iterator[tuple[str, int]]:
    with zipfile.ZipFile(path) as archive:
        yield from ((posixpath.normpath(member.filename), member.file_size) for member in archive.infolist())


def _tar_members(path: str) -> Iterator[tuple[str, int]]:
    largest = links = 0
    with tarfile.open(path) as archive:
        for member in archive:
            largest = max(largest, member.size)
            links += member.issym() or member.islnk()
            yield posixpath.normpath(member.name), member.size
    # A link is unpacked as what it leads to.
    yield "", links * largest


def _mega(size: int) -> int:
    return size // 1_000_000


#: Weights hardly shrink. What is small anyway may shrink as it likes.
_MOST_TIMES = 100
_SMALL_BYTES = 250_000_000

#: Seconds within which an archive must be unpacked.
LIMIT = 1800.0
_TOO_LARGE = 3


@dataclass(frozen=True, slots=True)
class Bound:
    """How many bytes an archive may hold, and what to do with one that holds more."""

    size: int
    remedy: str


def bound_of(archive: Path, free: int) -> Bound:
    """What is believed of an archive where `free` bytes may be written."""
    plausible = max(_SMALL_BYTES, _MOST_TIMES * archive.stat().st_size)
    if free < plausible:
        return Bound(max(0, free), "remove versions that are not needed with `okawari remove`")
    return Bound(plausible, "if you trust it, unpack it yourself and import the folder")


def unpack(archive: Path, room: Path, bound: Bound, packing: str) -> Path:
    """Unpack `archive` below `room`; return the folder with its `model.yaml`. Raises `ImportRefused`.

    `packing` is BentoML's word for its format.
    """
    home, scratch = room / "home", room / "scratch"
    for folder in (home, scratch):
        folder.mkdir()
    home_of_child = {"BENTOML_HOME": str(home), "TMPDIR": str(scratch)}
    try:
        done = subprocesses.run_module(
            __name__, str(archive), packing, str(bound.size), timeout=LIMIT, **home_of_child
        )
    except subprocess.TimeoutExpired:
        raise ImportRefused(f"{archive}: it was not unpacked within {LIMIT:g} s") from None
    said = subprocesses.last_words(done.stderr)
    if done.returncode == _TOO_LARGE:
        raise ImportRefused(f"{archive}: {said}: {bound.remedy}")
    if done.returncode != 0:
        raise ImportRefused(f"{archive}: {said}")
    return _only_version(home, archive)


def _only_version(home: Path, archive: Path) -> Path:
    found = list((home / "models").glob("*/*/model.yaml"))
    if len(found) != 1:
        raise ImportRefused(f"{archive}: it holds {len(found)} models, not one")
    return found[0].parent


def main() -> None:
    """Import into this process's home; what is wrong goes to stderr in one line."""
    path, packing, most = os.path.abspath(sys.argv[1]), sys.argv[2], int(sys.argv[3])  # noqa: PTH100 - keeps links
    # The process that waits for this one may be gone before it can end it.
    signal.alarm(int(LIMIT) + 5)
    _limit_files(most)
    try:
        exported = check_unpacked(path, packing, most)
        if exported:
            _import(path, packing)
    except TooLarge as error:
        print(error, file=sys.stderr)
        sys.exit(_TOO_LARGE)
    except Exception as error:  # noqa: BLE001 - whatever a foreign archive makes BentoML raise
        sys.exit(f"BentoML cannot unpack it, it is cut off or damaged: {type(error).__name__}: {error}")
    if not exported:
        sys.exit(
            "it was not exported by BentoML (no model.yaml at its top): unpack it, and import the folder"
        )


def _limit_files(most: int) -> None:
    """Let no file of this process grow above `most`, should an archive hold more than it says."""
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    limit = most if hard == resource.RLIM_INFINITY else min(most, hard)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))


def _import(path: str, packing: str) -> None:
    import bentoml

    bentoml.models.import_model(path, packing)


if __name__ == "__main__":
    main()
