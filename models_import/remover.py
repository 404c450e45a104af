"""A version leaves the store for good."""

from __future__ import annotations

from pathlib import Path

from common.files import sync
from hotswap.tags import ModelTag
from models_import.errors import ImportRefused
from models_import.layout import POINTER
from models_import.pointer import newest_on_disk, point
from models_import.progress import SILENT, ImportProgress
from models_import.workspace import Workspace


def remove(home: Path, tag: ModelTag, report: ImportProgress = SILENT) -> str | None:
    """Remove a version, whole or broken, in one step; return what `latest` names now.

    `latest` moves first, so that it never names what is gone. Raises `ImportRefused`.
    """
    shelf = home / "models" / tag.name
    if not (shelf / tag.version).is_dir():
        raise ImportRefused(f"{tag} is not in {shelf.parent}; `okawari models` lists what is")
    try:
        return _remove(Workspace(home), shelf, tag.version, report)
    except OSError as error:
        raise ImportRefused(f"{tag}: {error.filename}: {error.strerror}") from error


def _remove(staging: Workspace, shelf: Path, version: str, report: ImportProgress) -> str | None:
    with staging.locked(report):
        staging.sweep()
        with staging.room() as room:
            heir = newest_on_disk(shelf, None, without=version)
            if heir is not None:
                point(shelf, heir, room / POINTER)
            (shelf / version).rename(room / "removed")
            sync(shelf)
            if heir is None:
                _clear(shelf)
    return heir


def _clear(shelf: Path) -> None:
    """Nothing readable is left: a pointer would dangle, and an empty folder is no model."""
    (shelf / POINTER).unlink(missing_ok=True)
    if not any(shelf.iterdir()):
        shelf.rmdir()
        sync(shelf.parent)
