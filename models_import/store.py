"""Reads the model store, never writes it: the versions, and which of them are complete.

BentoML's `Store` is not used: it reports half-copied models as valid, matches version prefixes, fails
on an empty `latest`, and rewrites `latest`.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from hotswap.manifest import ModelConfig
from hotswap.repository import Incomplete, Invalid, ModelInfo, Verified, VersionInfo
from hotswap.tags import BadTag, ModelTag, check_word
from models_import import reasons
from models_import.integrity import IntegrityChecker, inside
from models_import.pointer import read_pointer
from models_import.version_reader import Check, VersionReader


def check_family(config: ModelConfig) -> None:
    """Raise `BadManifest` when no family can run this config."""
    from runners.families.index import check_config

    check_config(config)


class ModelStore:
    """`$BENTOML_HOME/models` as a model repository. Cheap enough for two calls of `look` per second."""

    def __init__(
        self, models: Path, *, clock: Callable[[], float] = time.monotonic, check: Check = check_family
    ) -> None:
        self._models = models
        self._reader = VersionReader(check)
        self._settler = IntegrityChecker(clock)
        self._present: set[str] = set()

    @property
    def path(self) -> Path:
        """The store's folder."""
        return self._models

    @property
    def operations(self) -> dict[str, int]:
        """The number of files parsed and hashed so far; unchanged files are not counted again."""
        return {
            "model.yaml": self._reader.yamls.reads,
            "config.json": self._reader.configs.reads,
            "hashed": self._settler.files_hashed,
        }

    def look(self) -> Mapping[str, ModelInfo] | None:
        """All models by name; None when the store cannot be read (missing, unmounted)."""
        present: set[str] = set()
        try:
            names = _folders(self._models)
        except OSError:
            return None
        models = {entry.name: self._guarded(entry, present) for entry in names}
        if present != self._present:
            self._present = present
            self._reader.keep_only(present)
            self._settler.keep_only(present)
        return models

    def settle(self, tag: ModelTag) -> Verified:
        """Check all files of a version against its manifest; a second call reads no file again.

        A version without manifest settles when two calls at least 2 s apart find the same files.
        """
        folder = self._models / tag.name / tag.version
        try:
            if not folder.is_dir():
                return Incomplete(f"{tag} is not in the store")
        except OSError as error:
            return Invalid(reasons.unreadable(folder, error))
        if not inside(self._models, folder):
            return Incomplete(_leads_out(folder))
        findings = self._reader.read(tag.name, tag.version, str(folder), anew=True)
        return self._settler.settle(tag, folder, findings)

    def _guarded(self, entry: os.DirEntry[str], present: set[str]) -> ModelInfo:
        """One model; an error becomes its reason, so that it does not affect the others."""
        try:
            return self._model(entry, present)
        except OSError as error:
            return ModelInfo(entry.name, None, {}, reasons.unreadable(Path(entry.path), error))
        except Exception as error:  # noqa: BLE001 - libraries may raise anything for an odd folder
            return ModelInfo(entry.name, None, {}, reasons.unforeseen(error))

    def _model(self, place: os.DirEntry[str], present: set[str]) -> ModelInfo:
        name, folder = place.name, Path(place.path)
        if place.is_symlink() and not inside(self._models, folder):
            return ModelInfo(name, None, {}, _leads_out(folder))
        try:
            versions = {entry.name: self._version(name, entry, present) for entry in _folders(folder)}
        except OSError as error:
            return ModelInfo(name, None, {}, reasons.unreadable(folder, error))
        latest, problem = read_pointer(folder, versions)
        return ModelInfo(name, latest, versions, problem)

    def _version(self, name: str, entry: os.DirEntry[str], present: set[str]) -> VersionInfo:
        if entry.is_symlink() and not inside(self._models, Path(entry.path)):
            return VersionInfo(entry.name, reason=_leads_out(Path(entry.path)))
        present.add(entry.path)
        return self._reader.read(name, entry.name, entry.path).version


def _leads_out(folder: Path) -> str:
    return f"{folder} is a link that leads out of the store; import its target instead"


def _folders(place: Path) -> list[os.DirEntry[str]]:
    """The folders in `place` whose names are valid in a tag, by name."""
    with os.scandir(place) as entries:
        folders = [entry for entry in entries if _is_word(entry.name) and _may_be_folder(entry)]
    return sorted(folders, key=lambda entry: entry.name)


def _may_be_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        # A circular link or a failing disk: opening the folder gives the reason.
        return True


def _is_word(name: str) -> bool:
    try:
        check_word("name", name)
    except BadTag:
        return False
    return name != "latest"
