"""How large an archive becomes, told by the headers in it before anything is written."""

from __future__ import annotations

import bz2
import gzip
import lzma
import posixpath
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import PurePath
from typing import Any

from models_import.layout import MODEL_YAML

#: What an archive of a model stays below.
_MOST_MEMBERS = 10_000
_MOST_HEADER_BYTES = 64_000_000

_Open = Callable[[str], Any]
_OPEN: dict[str, _Open] = {
    "tar": lambda path: open(path, "rb"),  # noqa: SIM115, PTH123 - closed by who asks
    "gz": gzip.open,
    "bz2": bz2.open,
    "xz": lzma.open,
}


class TooLarge(Exception):
    """An archive holds more than it may."""


def check_unpacked(path: str, kind: str, most: int) -> bool:
    """Whether an archive holds a `model.yaml` at its top, as one that BentoML exported does.

    Raises `TooLarge` for one of more than `most` bytes or very many files. `kind` is BentoML's word for its
    format; empty, the name's ending tells it, as with BentoML. Reads no further than it must, and raises what
    its libraries raise for what is no archive.
    """
    kind = kind or PurePath(path).suffix[1:]
    members = _zip_members(path) if kind == "zip" else _tar_members(path, kind)
    total, exported = 0, False
    for number, (name, size) in enumerate(members):
        total += size
        exported |= name == MODEL_YAML
        if total > most:
            raise TooLarge(f"unpacked it has at least {_mega(total)} MB, allowed are {_mega(most)} MB")
        if number >= _MOST_MEMBERS:
            raise TooLarge(f"it holds more than {_MOST_MEMBERS} files")
    return exported


def _zip_members(path: str) -> Iterator[tuple[str, int]]:
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            yield posixpath.normpath(member.filename), member.file_size


def _tar_members(path: str, kind: str) -> Iterator[tuple[str, int]]:
    # Links are unpacked as what they lead to.
    sizes: dict[str, int] = {}
    links: dict[str, str] = {}
    ends: list[str] = []
    # BentoML takes every ending that it does not know for its own, which is packed with xz.
    with _OPEN.get(kind, _OPEN["xz"])(path) as file, tarfile.TarFile(fileobj=_Headers(file)) as archive:
        for member in archive:
            name = posixpath.normpath(member.name)
            if member.issym() or member.islnk():
                place = posixpath.dirname(name) if member.issym() else ""
                links[name] = posixpath.normpath(posixpath.join(place, member.linkname))
                ends.append(links[name])
            else:
                sizes[name] = max(member.size, sizes.get(name, 0))
            yield name, member.size
    largest = max(sizes.values(), default=0)
    yield from (("", _size_behind(end, links, sizes, largest)) for end in ends)


def _size_behind(end: str, links: dict[str, str], sizes: dict[str, int], largest: int) -> int:
    """The size of what a link leads to; where that cannot be told, the largest there is."""
    for _ in range(10):
        if end in sizes:
            return sizes[end]
        end = links.get(end, "")
    return largest


class _Headers:
    """A tar file of which headers are read and contents passed over; it refuses to read more than those."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self._left = _MOST_HEADER_BYTES
        self.seek, self.tell, self.write, self.close = file.seek, file.tell, file.write, file.close

    def read(self, size: int) -> bytes:
        self._left -= size
        if self._left < 0:
            raise TooLarge(f"its headers have more than {_mega(_MOST_HEADER_BYTES)} MB")
        found: bytes = self._file.read(size)
        return found


def _mega(size: int) -> int:
    return size // 1_000_000
