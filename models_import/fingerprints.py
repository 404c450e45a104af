"""How a file is known to be the one seen before, so that it is neither parsed nor hashed twice."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

from models_import.small_files import read_small

Stamp = tuple[int, int, int, int]
T = TypeVar("T")

_BLOCK = 1 << 20


def stamp_of(status: os.stat_result) -> Stamp:
    """What changes whenever a file's bytes, name or mode do: inode, size, mtime, ctime.

    The change time counts too, because a copy may put an old modification time on new bytes.
    """
    return status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def sha256_of(path: Path) -> str:
    """The sha256 of a file's bytes, in hex."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


class HashedFiles:
    """sha256 by path, read again only when the file's stamp has changed."""

    def __init__(self) -> None:
        self._known: dict[Path, tuple[Stamp, str]] = {}
        self.reads = 0

    def sha256(self, path: Path) -> str | None:
        """The file's sha256; None when it changed while it was being read."""
        before = stamp_of(path.stat())
        known = self._known.get(path)
        if known is not None and known[0] == before:
            return known[1]
        found = sha256_of(path)
        self.reads += 1
        if stamp_of(path.stat()) != before:
            return None
        self._known[path] = (before, found)
        return found

    def keep_only(self, folders: set[str]) -> None:
        """Forget the files that lie below none of these folders."""
        for path in [path for path in list(self._known) if folders.isdisjoint(map(str, path.parents))]:
            self._known.pop(path, None)


class ParsedFiles(Generic[T]):
    """What a file says, parsed again only when its stamp has changed; a refusal is remembered too."""

    def __init__(self, parse: Callable[[bytes], T]) -> None:
        self._parse = parse
        self._known: dict[Path, tuple[Stamp, T | ValueError]] = {}
        self.reads = 0

    def get(self, path: Path) -> T:
        """What `path` says. Raises `OSError`, or the `ValueError` that the parser raised."""
        stamp = stamp_of(path.stat())
        known = self._known.get(path)
        if known is None or known[0] != stamp:
            known = self._known[path] = (stamp, self._read(path))
        if isinstance(known[1], ValueError):
            # Else every raising would add to the trace that the one before has left.
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
