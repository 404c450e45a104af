"""Pictures in memory: the twin of the picture stores, for tests that look over many records."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime

from lineage.errors import PathTaken, PictureNotFound
from lineage.picture_store import StoredObject

WRITTEN = datetime(2026, 11, 1, tzinfo=UTC)


class MemoryPictures:
    """A `PictureStore` that ends with its process."""

    name = "memory"

    def __init__(self) -> None:
        self.content: dict[str, bytes] = {}
        self.written: dict[str, datetime] = {}
        self.commits: list[str] = []

    def put(self, path: str, data: bytes, metadata: Mapping[str, str]) -> None:
        if self.content.setdefault(path, data) != data:
            raise PathTaken(path)

    def replace(self, path: str, data: bytes) -> None:
        self.content[path] = data

    def get(self, path: str) -> bytes:
        if path not in self.content:
            raise PictureNotFound(path)
        return self.content[path]

    def delete(self, paths: Iterable[str]) -> None:
        for path in paths:
            self.content.pop(path, None)

    def objects(self, prefix: str = "") -> Iterator[StoredObject]:
        for path in sorted(path for path in self.content if path.startswith(prefix)):
            if path in self.content:
                yield StoredObject(path, len(self.content[path]), self.written.get(path, WRITTEN))

    def commit(self, message: str, metadata: Mapping[str, str]) -> str:
        self.commits.append(message)
        return f"{len(self.commits):064x}"

    def check(self) -> None:
        pass

    def close(self) -> None:
        pass
