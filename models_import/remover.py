"""Removes a version from the store."""

from __future__ import annotations

from pathlib import Path

from common.files import sync
from manifest.tags import ModelTag
from models_import.errors import ImportRefused
from models_import.layout import POINTER
from models_import.pointer import newest_on_disk, point
from models_import.progress import SILENT, ImportProgress
from models_import.workspace import Workspace


def remove(home: Path, tag: ModelTag, report: ImportProgress = SILENT) -> str | None:
    """Remove a version, complete or broken, in one step; return the new `latest`.

    `latest` is changed first, so that it never names a removed version. Raises `ImportRefused`.
    """
    model_dir = home / "models" / tag.name
    if not (model_dir / tag.version).is_dir():
        raise ImportRefused(f"{tag} is not in {model_dir.parent}; `okawari models` lists the versions")
    try:
        return _remove(Workspace(home), model_dir, tag.version, report)
    except OSError as error:
        raise ImportRefused(f"{tag}: {error.filename}: {error.strerror}") from error


def _remove(staging: Workspace, model_dir: Path, version: str, report: ImportProgress) -> str | None:
    with staging.locked(report):
        staging.sweep()
        with staging.scratch_folder() as scratch:
            successor = newest_on_disk(model_dir, None, without=version)
            if successor is not None:
                point(model_dir, successor, scratch / POINTER)
            (model_dir / version).rename(scratch / "removed")
            sync(model_dir)
            if successor is None:
                _clear(model_dir)
    return successor


def _clear(model_dir: Path) -> None:
    """Remove the pointer, which would dangle, and the model's folder if it is empty."""
    (model_dir / POINTER).unlink(missing_ok=True)
    if not any(model_dir.iterdir()):
        model_dir.rmdir()
        sync(model_dir.parent)
