"""Fingerprints of files: an unchanged file is neither parsed nor hashed twice."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

from models_import.small_files import read_small

Stamp = tuple[int, int, int, int]
T = TypeVar("T")

_BLOCK = 1 << 20
# What changed more recently than this may change again without a new timestamp.
_SAME_TICK_NS = 2_000_000_000


def stamp_of(status: os.stat_result) -> Stamp:
    """The inode, size, mtime and ctime of a file, which change with its bytes, name or mode.

    The ctime is included because a copy may give new bytes an old mtime.
    """
    return status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def is_fresh(stamp: Stamp) -> bool:
    """Whether what has this stamp changed so recently that its next change may leave the stamp as it is."""
    return abs(time.time_ns() - stamp[3]) < _SAME_TICK_NS


def sha256_of(path: Path) -> str:
    """The sha256 of a file's bytes, in hex."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


class HashedFiles:
    """The sha256 of files by path; a file is read again only when its stamp has changed."""

    def __init__(self) -> None:
        self._known: dict[Path, tuple[Stamp, str]] = {}
        self.reads = 0

    def sha256(self, path: Path) -> str | None:
        """The file's sha256; None if it changed during reading."""
        before = stamp_of(path.stat())
        known = self._known.get(path)
        if known is not None and known[0] == before:
            return known[1]
        digest = sha256_of(path)
        self.reads += 1
        if stamp_of(path.stat()) != before:
            return None
        self._known[path] = (before, digest)
        return digest

    def keep_only(self, folders: set[str]) -> None:
        """Forget the files outside these folders."""
        for path in [path for path in list(self._known) if folders.isdisjoint(map(str, path.parents))]:
            self._known.pop(path, None)


class ParsedFiles(Generic[T]):
    """Parsed files by path; a file is parsed again only when its stamp has changed. Errors are kept too."""

    def __init__(self, parse: Callable[[bytes], T]) -> None:
        self._parse = parse
        self._known: dict[Path, tuple[Stamp, T | ValueError]] = {}
        self.reads = 0

    def get(self, path: Path) -> T:
        """The parsed content of `path`. Raises `OSError`, or the parser's `ValueError`."""
        stamp = stamp_of(path.stat())
        known = self._known.get(path)
        if known is None or known[0] != stamp:
            known = self._known[path] = (stamp, self._read(path))
        if isinstance(known[1], ValueError):
            # Otherwise the traceback would grow with each raise.
            raise known[1].with_traceback(None)
        return known[1]

    def _read(self, path: Path) -> T | ValueError:
        self.reads += 1
        try:
            return self._parse(read_small(path))
        except ValueError as error:
            return error

    def keep_only(self, paths: set[str]) -> None:
        """Forget every other file."""
        for path in [path for path in list(self._known) if str(path) not in paths]:
            self._known.pop(path, None)


def digest_of_all(*files: Path) -> str:
    """The sha256 of the bytes of several files, one after the other. Raises `OSError`."""
    found = hashlib.sha256()
    for path in files:
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                found.update(block)
    return found.hexdigest()
