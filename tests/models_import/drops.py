"""A drop folder whose time a test steers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from models_import.drop_folder import SETTLED_SECONDS, DropFolder
from models_import.importer import Importer
from models_import.integrity import QUIET_SECONDS
from tests.builders import write_version
from tests.models_import.conftest import Clock
from tests.models_import.shop import day, not_tried

QUIET, SETTLED = QUIET_SECONDS, SETTLED_SECONDS


def put(drop: Drop, version: str = "v1", code: int = 1, **more: object) -> Path:
    """Build a version in the drop folder, and return where it lies."""
    return write_version(drop.folder, "code", version, code, **more)  # type: ignore[arg-type]


def words(note: Path) -> str:
    """What the note in a folder says."""
    return (note / "IMPORT-FAILED.txt").read_text()


class Drop:
    """`folder` and `home`, and who brings the versions of one into the other."""

    def __init__(self, tmp_path: Path, home: Path, **parts: Any) -> None:
        self.folder = tmp_path / "drop"
        self.folder.mkdir(exist_ok=True)
        self.home = home
        self.clock = Clock()
        self.steps: list[str] = []
        self.parts = {"probe": not_tried} | parts
        self.on_step: Callable[[str], None] = lambda _step: None
        self.drop = self.fresh()

    def fresh(self) -> DropFolder:
        """One that begins anew, as after a restart."""

        def make(home: Path, **more: Any) -> Importer:
            return Importer(home, **self.parts, **more)

        return DropFolder(
            self.folder, self.home, make=make, clock=self.clock, now=lambda: day(1), at=self._at
        )

    def _at(self, step: str) -> None:
        self.steps.append(step)
        self.on_step(step)

    @property
    def imports(self) -> int:
        """How many were begun."""
        return self.steps.count("lock")

    def turns(self) -> float:
        """Turn until there is nothing to do now; seconds until there is."""
        for _ in range(100):
            if (wait := self.drop.turn()) > 0:
                return wait
        raise AssertionError("it turns without pause")

    def passes(self, seconds: float) -> None:
        """Let time go by, with a look at its end."""
        self.clock.now += seconds
        self.turns()

    def settles(self) -> None:
        """What lies there has been seen, has been at rest, was tried, and had the time to get its note."""
        self.turns()
        for _ in range(4):
            self.passes(SETTLED)

    def store(self, name: str = "code") -> list[str]:
        """Which versions of a model the store holds."""
        shelf = self.home / "models" / name
        return sorted(path.name for path in shelf.iterdir() if path.is_dir()) if shelf.exists() else []

    def notes(self) -> list[str]:
        """Where in the folder notes lie."""
        found = self.folder.rglob("*IMPORT-FAILED.txt*")
        return sorted(str(path.relative_to(self.folder)) for path in found)
