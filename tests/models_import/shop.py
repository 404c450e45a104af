"""What the tests of this room share."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

from manifest.version_manifest import Measured
from models_import.candidates import Wanted, candidates
from models_import.importer import Imported, Importer
from models_import.probe import Task
from tests.builders import write_version

ROOT = Path(__file__).parent.parent.parent
NEW_YEAR = datetime(2026, 1, 1, tzinfo=UTC)

MEASURED = Measured(load_seconds=0.1, peak_bytes=2, resident_bytes=1, onnxruntime="0")


def day(number: int) -> datetime:
    """Moments that rise with their number."""
    return NEW_YEAR + timedelta(days=number)


def not_tried(task: Task) -> Measured:
    """A probe that trusts every model: for tests of something else."""
    return MEASURED


def importer(home: Path, **parts: object) -> Importer:
    """An importer that starts no child process."""
    return Importer(home, **({"probe": not_tried} | parts))  # type: ignore[arg-type]


def bring(home: Path, path: Path, wanted: Wanted | None = None, **parts: object) -> Imported:
    """Import the one version at `path`."""
    (candidate,) = candidates(path, wanted or Wanted())
    return importer(home, **parts).run(candidate)


def stock(home: Path, tmp: Path, name: str, version: str, code: int = 0, **parts: object) -> Path:
    """Build a version below `tmp`, import it, and return its folder in the store."""
    bring(home, write_version(tmp / "made", name, version, code, **parts))  # type: ignore[arg-type]
    return home / "models" / name / version


def latest(home: Path, name: str = "code") -> str:
    """What the pointer of a model names."""
    return (home / "models" / name / "latest").read_text()


def tree(folder: Path) -> dict[str, tuple[int, int, bytes | None]]:
    """Everything below a folder: mode, modification time, bytes."""
    found = {}
    for path in sorted(folder.rglob("*")):
        status = path.lstat()
        data = path.read_bytes() if path.is_file() else None
        found[str(path.relative_to(folder))] = (status.st_mode, status.st_mtime_ns, data)
    return found


def environment(home: Path) -> dict[str, str]:
    """For child processes that work on `home`."""
    return os.environ | {
        "BENTOML_HOME": str(home),
        "BENTOML_DO_NOT_TRACK": "True",
        "PYTHONPATH": str(ROOT),
        "COLUMNS": "200",
    }
