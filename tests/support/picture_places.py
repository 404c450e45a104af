"""Places where pictures lie in tests, each with the server that its tests need."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

import pytest

from adapters.picture_stores import open_pictures
from adapters.pictures.picture_options import PictureOptions
from lineage.picture_store import PictureStore


class PictureServer(Protocol):
    """What a place is served by."""

    def start(self) -> None:
        """Serve, with what was stored before."""
        ...

    def stop(self) -> None:
        """Serve no more."""
        ...


class MovedFolder:
    """A folder that is away while it is `stopped`: its disk is not mounted."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._away = folder.with_name(f"{folder.name}-away")

    def start(self) -> None:
        # A put that was running may have made folders meanwhile, but no file.
        assert not [path for path in self._folder.rglob("*") if path.is_file()]
        shutil.rmtree(self._folder)
        self._away.rename(self._folder)

    def stop(self) -> None:
        self._folder.rename(self._away)
        self._folder.mkdir()


@dataclass(frozen=True)
class PicturePlace:
    """An empty store. `checks_keys`: whether its server does."""

    kind: str
    location: str
    server: PictureServer | None
    options: PictureOptions = field(default_factory=PictureOptions)
    checks_keys: bool = True
    _opened: list[PictureStore] = field(default_factory=list)

    def open(self) -> PictureStore:
        """A client of its own."""
        self._opened.append(open_pictures(self.location, self.options))
        return self._opened[-1]

    def open_with_key(self, secret: str) -> PictureStore:
        """A client with another secret key."""
        self._opened.append(open_pictures(self.location, replace(self.options, secret_key=secret)))
        return self._opened[-1]

    def close(self) -> None:
        """Close all clients."""
        for pictures in self._opened:
            pictures.close()

    @contextmanager
    def away(self) -> Iterator[None]:
        """While its server is away; skips the test where it keeps nothing, or is not ours."""
        if self.server is None:
            pytest.skip(f"{self.kind}: this server is not stopped")
        self.server.stop()
        try:
            yield
        finally:
            self.server.start()


def folder_place(folder: Path) -> PicturePlace:
    """A folder that is not there yet."""
    return PicturePlace("folder", str(folder), MovedFolder(folder))
