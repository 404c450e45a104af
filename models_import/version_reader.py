"""Examines a version of the store without hashing: may it be loaded, and if not, why."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from common.text import plain
from hotswap.repository import VersionInfo
from manifest.tags import ModelTag
from manifest.version_manifest import CONFIG_FILE, BadManifest, Manifest, ModelConfig, parse_config
from models_import import model_yaml, reasons
from models_import.fingerprints import ParsedFiles, Stamp, is_fresh, stamp_of
from models_import.layout import MODEL_YAML, LeadsOut, check_named_files, files_in, pick_weights
from models_import.model_yaml import ModelYaml
from runners.label_file import with_labels

Check = Callable[[ModelConfig], None]


@dataclass(frozen=True, slots=True)
class VersionFindings:
    """The result of examining one version's folder.

    `waits`: the version may become complete without intervention. `lasting`: the result is valid while the
    stamps of the folder and of `model.yaml` are unchanged (the integrity check finds replaced bytes).
    """

    version: VersionInfo
    info: ModelYaml | None = None
    config: ModelConfig | None = None
    waits: bool = False
    lasting: bool = False


class _Unfit(Exception):
    """The reason why a version cannot be loaded; see `VersionFindings` for the two flags."""

    def __init__(self, reason: str, *, waits: bool = False, lasting: bool = False) -> None:
        super().__init__(reason)
        self.waits = waits
        self.lasting = lasting


class VersionReader:
    """Reads version folders. A file is parsed again only when it has changed."""

    def __init__(self, check: Check) -> None:
        self._check = check
        self.yamls = ParsedFiles(model_yaml.parse)
        self.configs = ParsedFiles(parse_config)
        # Keyed by text: making a `Path` costs more than the two calls of stat.
        self._known: dict[str, tuple[tuple[Stamp, Stamp | None], VersionFindings]] = {}

    def read(self, name: str, version: str, folder: str, *, anew: bool = False) -> VersionFindings:
        """The current findings; `anew` examines every file, not only the folder and `model.yaml`."""
        try:
            key = stamp_of(os.stat(folder)), _stamp_if_there(f"{folder}/{MODEL_YAML}")  # noqa: PTH116
            known = self._known.get(folder)
            if known is not None and known[0] == key and not anew and _lasts(known[1], key):
                return known[1]
            findings = self._examine(ModelTag(name, version), Path(folder))
        except OSError as error:
            return VersionFindings(VersionInfo(version, reason=reasons.unreadable(Path(folder), error)))
        except Exception as error:  # noqa: BLE001 - one version must not affect the others
            return VersionFindings(VersionInfo(version, reason=reasons.unforeseen(error)))
        self._known[folder] = key, findings
        return findings

    def rests(self, folder: str) -> bool:
        """Whether a version was servable when it was read last, some time after its last change."""
        known = self._known.get(folder)
        return known is not None and known[1].version.reason is None and _lasts(known[1], known[0])

    def keep_only(self, folders: set[str]) -> None:
        """Forget every version whose folder is not among these."""
        self.yamls.keep_only({f"{folder}/{MODEL_YAML}" for folder in folders})
        self.configs.keep_only({f"{folder}/{CONFIG_FILE}" for folder in folders})
        for folder in [folder for folder in list(self._known) if folder not in folders]:
            self._known.pop(folder, None)

    def _examine(self, tag: ModelTag, folder: Path) -> VersionFindings:
        info: ModelYaml | None = None
        try:
            info = self._info(tag, folder)
            config = self._config(tag, info, folder)
            size = _fits(tag, info, config, folder)
        except _Unfit as unfit:
            return VersionFindings(_info_of(tag, info, str(unfit)), info, None, unfit.waits, unfit.lasting)
        except OSError as error:
            return VersionFindings(_info_of(tag, info, reasons.unreadable(folder, error)), info)
        version = replace(_info_of(tag, info, None, size), config=config)
        return VersionFindings(version, info, config, lasting=True)

    def _info(self, tag: ModelTag, folder: Path) -> ModelYaml:
        try:
            info = self.yamls.get(folder / MODEL_YAML)
        except FileNotFoundError:
            raise _Unfit(reasons.interrupted(tag, f"no {MODEL_YAML}"), waits=True, lasting=True) from None
        except BadManifest as error:
            raise _Unfit(reasons.damaged(tag, str(error)), waits=True, lasting=True) from None
        if (info.name, info.version) != (tag.name, tag.version):
            named = plain(f"{info.name}:{info.version}", 130)
            problem = f"its {MODEL_YAML} belongs to {named}"
            raise _Unfit(reasons.damaged(tag, problem), lasting=True)
        return info

    def _config(self, tag: ModelTag, info: ModelYaml, folder: Path) -> ModelConfig:
        try:
            config = self.configs.get(folder / CONFIG_FILE)
            if info.manifest is None:
                # Our importer has checked configs with a manifest; checking needs libraries that load slowly.
                self._check(with_labels(config, folder))
        except FileNotFoundError:
            if info.manifest is None:
                raise _Unfit(reasons.foreign(folder, f"no {CONFIG_FILE}"), lasting=True) from None
            raise _Unfit(reasons.interrupted(tag, f"no {CONFIG_FILE}"), waits=True) from None
        except BadManifest as error:
            raise _bad_config(tag, info, folder, error) from None
        return config


def _bad_config(tag: ModelTag, info: ModelYaml, folder: Path, error: BadManifest) -> _Unfit:
    if info.manifest is None:
        return _Unfit(reasons.foreign(folder, str(error)), waits=True)
    path, declared = folder / CONFIG_FILE, info.manifest.files[CONFIG_FILE].size
    if path.is_file() and path.stat().st_size < declared:
        return _Unfit(reasons.interrupted(tag, f"{CONFIG_FILE} is incomplete"), waits=True)
    return _Unfit(reasons.damaged(tag, str(error)))


def _fits(tag: ModelTag, info: ModelYaml, config: ModelConfig, folder: Path) -> int:
    """The bytes of all files. Raises `_Unfit` if one is missing or has another size than declared."""
    if info.manifest is not None:
        return _sizes_fit(tag, info.manifest, folder)
    try:
        files = dict(files_in(folder))
        pick_weights(files, config)
        check_named_files(config, files)
    except LeadsOut as error:
        raise _Unfit(reasons.damaged(tag, str(error))) from None
    except BadManifest as error:
        raise _Unfit(reasons.interrupted(tag, str(error)), waits=True) from None
    return sum(_readable_size(path) for path in files.values())


def _sizes_fit(tag: ModelTag, manifest: Manifest, folder: Path) -> int:
    for name, entry in manifest.files.items():
        try:
            size = _readable_size(folder / name)
        except FileNotFoundError:
            raise _Unfit(reasons.interrupted(tag, f"{name} is missing"), waits=True) from None
        if size < entry.size:
            problem = f"{name} has {size} of {entry.size} bytes"
            raise _Unfit(reasons.interrupted(tag, problem), waits=True)
        if size > entry.size:
            raise _Unfit(reasons.damaged(tag, f"{name} has {size} bytes, not {entry.size}"))
    return manifest.size_bytes


def _readable_size(path: Path) -> int:
    size = path.stat().st_size
    if not os.access(path, os.R_OK):
        raise PermissionError(13, "Permission denied", str(path))
    return size


def _info_of(tag: ModelTag, info: ModelYaml | None, reason: str | None, size: int = 0) -> VersionInfo:
    if info is None:
        return VersionInfo(tag.version, reason=reason)
    manifest = info.manifest
    return VersionInfo(
        version=tag.version,
        digest=manifest.digest if manifest else None,
        size_bytes=manifest.size_bytes if manifest else size,
        created=info.created,
        reason=reason,
        measured=manifest.measured if manifest else None,
    )


def _stamp_if_there(path: str) -> Stamp | None:
    try:
        return stamp_of(os.stat(path))  # noqa: PTH116
    except FileNotFoundError:
        return None


def _lasts(findings: VersionFindings, key: Iterable[Stamp | None]) -> bool:
    """Whether equal stamps prove that the folder is unchanged."""
    return findings.lasting and not any(stamp is not None and is_fresh(stamp) for stamp in key)
