"""The contract of a picture store: objects at paths, which are written once, and commits over them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol


@dataclass(frozen=True, slots=True)
class StoredObject:
    """What lies at a path; `size` in bytes."""

    path: str
    size: int
    modified: datetime


class PictureStore(Protocol):
    """Where pictures lie. May be used by several threads and processes at once.

    Paths are relative, with `/` between names, and never leave the store. Each method raises
    `PicturesUnavailable` when the store cannot be used; then what was to be changed may have been.
    """

    @property
    def name(self) -> str:
        """The place, for people; without secrets."""
        ...

    def put(self, path: str, data: bytes, metadata: Mapping[str, str]) -> None:
        """Store a picture for good: when this returns, it survives a loss of power.

        Does nothing where the same bytes lie there already. Raises `PathTaken` for other bytes.
        """
        ...

    def replace(self, path: str, data: bytes) -> None:
        """Store a document, in the place of what lies there."""
        ...

    def get(self, path: str) -> bytes:
        """The bytes at a path. Raises `PictureNotFound`."""
        ...

    def delete(self, paths: Iterable[str]) -> None:
        """Remove what lies at these paths; what is not there is no error."""
        ...

    def objects(self, prefix: str = "") -> Iterator[StoredObject]:
        """All objects whose path begins so, in the order of their paths."""
        ...

    def commit(self, message: str, metadata: Mapping[str, str]) -> str:
        """Make what was put since the last commit lasting as one; its id, of at most 64 characters.

        Without changes the id of the last commit. A store without commits, where all is lasting at once,
        gives the hash of message and metadata: the same commit, made again, has the same id.
        """
        ...

    def check(self) -> None:
        """Return when the store can be used."""
        ...

    def close(self) -> None:
        """Close all connections."""
        ...
