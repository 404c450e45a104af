"""Reads the model store, never writes it: the versions, and which of them are complete.

BentoML's `Store` is not used: it reports half-copied models as valid, matches version prefixes, fails
on an empty `latest`, and rewrites `latest`.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from hotswap.repository import Incomplete, Invalid, ModelInfo, Verified, VersionInfo
from manifest.tags import BadTag, ModelTag, check_word
from manifest.version_manifest import ModelConfig
from models_import import reasons
from models_import.fingerprints import Stamp, is_fresh, stamp_of
from models_import.integrity import IntegrityChecker, inside
from models_import.pointer import read_pointer
from models_import.version_reader import Check, VersionReader


def check_family(config: ModelConfig) -> None:
    """Raise `BadManifest` when no family can run this config."""
    from runners.families.index import check_config

    check_config(config)


#: Versions that a look examines without a sign of change.
_IN_TURN = 200


@dataclass(frozen=True, slots=True)
class _Known:
    """A model's folder when it was last listed. `restless`: what is not servable, or has just changed."""

    stamp: Stamp
    versions: Mapping[str, VersionInfo]
    restless: tuple[str, ...] = ()


class ModelStore:
    """`$BENTOML_HOME/models` as a model repository. Cheap enough for two calls of `look` per second.

    A look lists the folders that have changed, and the other ones in turn: all of them as long as the store
    holds some hundred versions, so that its cost does not grow with versions that are only kept.
    """

    def __init__(
        self, models: Path, *, clock: Callable[[], float] = time.monotonic, check: Check = check_family
    ) -> None:
        self._models = models
        self._reader = VersionReader(check)
        self._settler = IntegrityChecker(clock)
        self._known: dict[str, _Known] = {}
        self._looks = 0

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
        try:
            names = _folders(self._models)
        except OSError:
            return None
        self._looks += 1
        before = dict(self._known)
        rounds = 1 + sum(len(known.versions) for known in before.values()) // _IN_TURN
        models = {
            entry.name: self._guarded(entry, (self._looks + place) % rounds == 0)
            for place, entry in enumerate(names)
        }
        for gone in before.keys() - models.keys():
            self._known.pop(gone, None)
        if any(self._versions(name) is not known.versions for name, known in before.items()):
            self._forget()
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

    def _guarded(self, entry: os.DirEntry[str], in_turn: bool) -> ModelInfo:
        """One model; an error becomes its reason, so that it does not affect the others."""
        try:
            return self._model(entry, in_turn)
        except OSError as error:
            return ModelInfo(entry.name, None, {}, reasons.unreadable(Path(entry.path), error))
        except Exception as error:  # noqa: BLE001 - libraries may raise anything for an odd folder
            return ModelInfo(entry.name, None, {}, reasons.unforeseen(error))

    def _model(self, place: os.DirEntry[str], in_turn: bool) -> ModelInfo:
        name, folder = place.name, Path(place.path)
        if place.is_symlink() and not inside(self._models, folder):
            return ModelInfo(name, None, {}, _leads_out(folder))
        known = None if in_turn else self._known.get(name)
        try:
            stamp = stamp_of(folder.stat())
            if known is None or known.stamp != stamp or is_fresh(stamp):
                links = {entry.name: entry.is_symlink() for entry in _folders(folder)}
                versions = self._read(name, folder, stamp, links, {})
            else:
                links = {version: (folder / version).is_symlink() for version in known.restless}
                versions = self._read(name, folder, stamp, links, known.versions)
        except OSError as error:
            return ModelInfo(name, None, {}, reasons.unreadable(folder, error))
        latest, problem = read_pointer(folder, versions)
        return ModelInfo(name, latest, versions, problem)

    def _read(
        self,
        name: str,
        folder: Path,
        stamp: Stamp,
        links: Mapping[str, bool],
        resting: Mapping[str, VersionInfo],
    ) -> Mapping[str, VersionInfo]:
        """All versions, of which those in `links` (which says what is a link) are read now."""
        read = {
            version: self._version(name, version, f"{folder}/{version}", is_link)
            for version, is_link in links.items()
        }
        restless = tuple(version for version in read if not self._reader.rests(f"{folder}/{version}"))
        versions, before = {**resting, **read}, self._versions(name)
        # The same object where nothing has changed: readers need not walk through the versions.
        self._known[name] = _Known(stamp, before if before == versions else versions, restless)
        return self._known[name].versions

    def _versions(self, name: str) -> Mapping[str, VersionInfo] | None:
        known = self._known.get(name)
        return known.versions if known else None

    def _version(self, name: str, version: str, folder: str, is_link: bool) -> VersionInfo:
        if is_link and not inside(self._models, Path(folder)):
            return VersionInfo(version, reason=_leads_out(Path(folder)))
        return self._reader.read(name, version, folder).version

    def _forget(self) -> None:
        """What is known of folders that are not there any more."""
        present = {
            f"{self._models / name}/{version}"
            for name, known in self._known.items()
            for version in known.versions
        }
        self._reader.keep_only(present)
        self._settler.keep_only(present)


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
