"""Versions come into a store quickly: no trial run at import, and builders instead of real models."""

from __future__ import annotations

import os
import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import onnxruntime

from manifest.tags import ModelTag
from manifest.version_manifest import Measured
from models_import.candidates import Candidate, Wanted
from models_import.exporter import export
from models_import.importer import Imported, Importer
from models_import.probe import Task
from models_import.store import ModelStore
from tests import builders
from tests.e2e.harness import BIN, environment

_FIRST = datetime(2026, 1, 1, tzinfo=UTC)


def at(minutes: int) -> datetime:
    """A creation time; later numbers are newer."""
    return _FIRST + timedelta(minutes=minutes)


def untried(_: Task) -> Measured:
    """A probe that trusts every model."""
    return Measured(load_seconds=0, peak_bytes=0, resident_bytes=0, onnxruntime=onnxruntime.__version__)


class Store:
    """`home/models`, filled by the importer or by BentoML's own command."""

    def __init__(self, home: Path, scratch: Path) -> None:
        self.home = home
        self.models = home / "models"
        self.scratch = scratch
        self._count = 0
        home.mkdir(parents=True, exist_ok=True)

    def source(self, version: str, code: int, name: str = "m", **more: Any) -> Path:
        """A version's folder as its maker wrote it; later calls give newer versions."""
        self._count += 1
        created = more.pop("created", at(self._count))
        folder = self.scratch / f"source-{self._count}"
        return builders.write_version(folder, name, version, code, created=created, **more)

    def add(self, version: str, code: int, name: str = "m", **more: Any) -> Imported:
        """Make a version and import it."""
        return self.take(self.source(version, code, name, **more))

    def take(self, folder: Path) -> Imported:
        """Import a folder without trying the model out, so that bad ones come in, too."""
        importer = Importer(self.home, probe=untried)
        return importer.run(Candidate(folder, Wanted(), named=True))

    def archive(self, version: str, code: int, name: str = "m", **more: Any) -> Path:
        """An archive of a version, exported by us from another store."""
        self._count += 1
        other = Store(self.scratch / f"other-{self._count}", self.scratch / f"made-{self._count}")
        other.take(self.source(version, code, name, **more))
        target = self.scratch / f"{name}-{version}.bentomodel"
        return export(ModelStore(other.models), ModelTag(name, version), target)

    def bentoml(self, *words: str | Path) -> subprocess.CompletedProcess[str]:
        """Run BentoML's own command on this store."""
        return subprocess.run(
            [BIN / "bentoml", *map(str, words)],
            env=environment(self.home, self.home),
            capture_output=True,
            text=True,
            check=True,
            timeout=100,
        )

    def okawari(self, *words: str | Path, code: int = 0) -> str:
        """What a command of ours says on this home; it must end with that code."""
        done = subprocess.run(
            [BIN / "okawari", *map(str, words)],
            env=environment(self.home, self.home),
            capture_output=True,
            text=True,
            check=False,
            timeout=100,
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    def remove(self, version: str, name: str = "m") -> None:
        """Delete a version's files, as somebody with a shell would."""
        shutil.rmtree(self.models / name / version)

    def point(self, text: str, name: str = "m") -> None:
        """Write BentoML's `latest` by hand."""
        (self.models / name / "latest").write_text(text)


def snapshot(folder: Path) -> dict[str, tuple[int, int]]:
    """Every path below a folder with its size and change time."""
    found: dict[str, tuple[int, int]] = {}
    for place, folders, files in os.walk(folder):
        for name in (*folders, *files):
            path = Path(place) / name
            status = path.lstat()
            size = 0 if path.is_dir() else status.st_size
            found[str(path.relative_to(folder))] = (size, status.st_mtime_ns)
    return found
