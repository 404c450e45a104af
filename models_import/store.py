"""The model store, read and never written: which versions there are, and which of them are whole.

BentoML's own `Store` is not used here: it shows half-copied models as valid, matches version prefixes,
takes an empty `latest` for an error, and writes `latest` back.
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
    """`$BENTOML_HOME/models` as a `hotswap.repository.Source`. Cheap enough to be asked twice a second."""

    def __init__(
        self, models: Path, *, clock: Callable[[], float] = time.monotonic, check: Check = check_family
    ) -> None:
        self._models = models
        self._sights = VersionReader(check)
        self._settler = IntegrityChecker(clock)
        self._seen: set[str] = set()

    @property
    def path(self) -> Path:
        """The folder itself."""
        return self._models

    @property
    def operations(self) -> dict[str, int]:
        """How often a file was parsed or hashed so far; looking again at unchanged files adds nothing."""
        return {
            "model.yaml": self._sights.yamls.reads,
            "config.json": self._sights.configs.reads,
            "hashed": self._settler.files_hashed,
        }

    def look(self) -> Mapping[str, ModelInfo] | None:
        """All models by name; None when the store itself cannot be read (away, unmounted)."""
        seen: set[str] = set()
        try:
            names = _folders(self._models)
        except OSError:
            return None
        sights = {entry.name: self._guarded(entry, seen) for entry in names}
        if seen != self._seen:
            self._seen = seen
            self._sights.keep_only(seen)
            self._settler.keep_only(seen)
        return sights

    def settle(self, tag: ModelTag) -> Verified:
        """Check every file of one version against its manifest; a second call reads no file again.

        A version without manifest settles when two calls at least 2 s apart saw the same files.
        """
        folder = self._models / tag.name / tag.version
        try:
            if not folder.is_dir():
                return Incomplete(f"{tag} is not in the store")
        except OSError as error:
            return Invalid(reasons.unreadable(folder, error))
        if not inside(self._models, folder):
            return Incomplete(_leads_out(folder))
        reading = self._sights.read(tag.name, tag.version, str(folder), anew=True)
        return self._settler.settle(tag, folder, reading)

    def _guarded(self, found: os.DirEntry[str], seen: set[str]) -> ModelInfo:
        """One model can never stop the others."""
        try:
            return self._model(found, seen)
        except OSError as error:
            return ModelInfo(found.name, None, {}, reasons.unreadable(Path(found.path), error))
        except Exception as error:  # noqa: BLE001 - whatever a folder makes the libraries raise
            return ModelInfo(found.name, None, {}, reasons.unforeseen(error))

    def _model(self, found: os.DirEntry[str], seen: set[str]) -> ModelInfo:
        name, folder = found.name, Path(found.path)
        if found.is_symlink() and not inside(self._models, folder):
            return ModelInfo(name, None, {}, _leads_out(folder))
        try:
            versions = {entry.name: self._version(name, entry, seen) for entry in _folders(folder)}
        except OSError as error:
            return ModelInfo(name, None, {}, reasons.unreadable(folder, error))
        latest, wrong = read_pointer(folder, versions)
        return ModelInfo(name, latest, versions, wrong)

    def _version(self, name: str, entry: os.DirEntry[str], seen: set[str]) -> VersionInfo:
        if entry.is_symlink() and not inside(self._models, Path(entry.path)):
            return VersionInfo(entry.name, reason=_leads_out(Path(entry.path)))
        seen.add(entry.path)
        return self._sights.read(name, entry.name, entry.path).sight


def _leads_out(folder: Path) -> str:
    return f"{folder} is a link that leads out of the store; import what it leads to instead"


def _folders(place: Path) -> list[os.DirEntry[str]]:
    """The folders in `place` whose names can be part of a tag, by name."""
    with os.scandir(place) as entries:
        found = [entry for entry in entries if _is_word(entry.name) and _may_be_folder(entry)]
    return sorted(found, key=lambda entry: entry.name)


def _may_be_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        # A link that leads to itself, a disk that fails: whoever opens it is told so.
        return True


def _is_word(name: str) -> bool:
    try:
        check_word("name", name)
    except BadTag:
        return False
    return name != "latest"
