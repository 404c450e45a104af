"""The integrity check: the one place that decides whether a version is complete and may be loaded."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path

from hotswap.repository import Artifact, Incomplete, Invalid, Verified
from manifest.tags import ModelTag
from manifest.version_manifest import BadManifest, FileEntry, Manifest, ModelConfig, digest_of
from models_import import reasons
from models_import.fingerprints import HashedFiles, Stamp, stamp_of
from models_import.layout import MODEL_YAML, LeadsOut, files_in, pick_weights
from models_import.model_yaml import ModelYaml
from models_import.version_reader import VersionFindings
from runners.label_file import with_labels

#: Seconds for which the files of a version without manifest must stay unchanged.
QUIET_SECONDS = 2.0

Stamps = Mapping[str, Stamp]


class IntegrityChecker:
    """Checks files against their manifest; without one it checks that they no longer change."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._hashes = HashedFiles()
        self._at_rest: dict[Path, tuple[Stamps, float]] = {}

    @property
    def files_hashed(self) -> int:
        """The number of files read in full so far."""
        return self._hashes.reads

    def keep_only(self, folders: set[str]) -> None:
        """Forget every version whose folder is not among these."""
        self._hashes.keep_only(folders)
        for folder in [folder for folder in list(self._at_rest) if str(folder) not in folders]:
            self._at_rest.pop(folder, None)

    def settle(self, tag: ModelTag, folder: Path, findings: VersionFindings) -> Verified:
        """Hash the files that are not hashed yet; return the artifact, or why there is none."""
        info, config, reason = findings.info, findings.config, findings.version.reason
        if reason is not None or info is None or config is None:
            reason = reason or "cannot be read"
            return Incomplete(reason) if findings.waits else Invalid(reason)
        try:
            return self._check(tag, folder, info, config)
        except LeadsOut as error:
            return Invalid(reasons.damaged(tag, str(error)))
        except FileNotFoundError as error:
            return Incomplete(reasons.interrupted(tag, f"{error.filename} disappeared"))
        except OSError as error:
            return Invalid(reasons.unreadable(folder, error))
        except Exception as error:  # noqa: BLE001 - one version must not affect the others
            return Invalid(reasons.unforeseen(error))

    def _check(self, tag: ModelTag, folder: Path, info: ModelYaml, config: ModelConfig) -> Verified:
        files = dict(files_in(folder))
        refusal = (
            self._changing(folder, files)
            if info.manifest is None
            else _names_differ(tag, info.manifest, files.keys() - {MODEL_YAML})
        )
        if refusal is not None:
            return refusal
        files.pop(MODEL_YAML)
        entries = self._entries(files)
        if entries is None:
            return Incomplete(f"the files of {tag} are changing")
        return self._compared(tag, folder, info, config, entries)

    def _changing(self, folder: Path, files: Mapping[str, Path]) -> Incomplete | None:
        """`Incomplete` until the files of a version without manifest have been unchanged for long enough."""
        now = self._clock()
        stamps = {name: stamp_of(path.stat()) for name, path in files.items()}
        known, since = self._at_rest.get(folder, (None, now))
        if known != stamps:
            self._at_rest[folder] = stamps, now
            since = now
        if now - since >= QUIET_SECONDS:
            return None
        return Incomplete(
            f"it has no manifest: waiting until its files are unchanged for {QUIET_SECONDS:g} s"
        )

    def _entries(self, files: Mapping[str, Path]) -> dict[str, FileEntry] | None:
        entries: dict[str, FileEntry] = {}
        for name, path in files.items():
            sha256 = self._hashes.sha256(path)
            if sha256 is None:
                return None
            entries[name] = FileEntry(sha256=sha256, size=path.stat().st_size)
        return entries

    def _compared(
        self,
        tag: ModelTag,
        folder: Path,
        info: ModelYaml,
        config: ModelConfig,
        entries: Mapping[str, FileEntry],
    ) -> Verified:
        manifest = info.manifest
        digest = digest_of(entries)
        if manifest is not None:
            for name, entry in manifest.files.items():
                if entries[name] != entry:
                    return Invalid(reasons.damaged(tag, f"{name} does not match its sha256"))
            if digest != manifest.digest:
                return Invalid(reasons.damaged(tag, "the digest does not match the files"))
        try:
            labelled = with_labels(config, folder)
        except BadManifest as error:
            return Invalid(reasons.damaged(tag, str(error)))
        return Artifact(
            tag=tag,
            path=folder,
            weights=folder / (manifest.weights if manifest else pick_weights(entries, config)),
            digest=digest,
            config=labelled,
            created=info.created,
            size_bytes=sum(entry.size for entry in entries.values()),
            measured=manifest.measured if manifest else None,
        )


def _names_differ(tag: ModelTag, manifest: Manifest, present: set[str]) -> Verified | None:
    declared = set(manifest.files)
    if missing := sorted(declared - present):
        return Incomplete(reasons.interrupted(tag, f"{missing[0]} is missing"))
    if extra := sorted(present - declared):
        return Invalid(reasons.damaged(tag, f"{extra[0]} was added after the import"))
    return None


def inside(root: Path, path: Path) -> bool:
    """Whether a path, with links resolved, is below `root`."""
    real, base = os.path.realpath(path), os.path.realpath(root)
    return real.startswith(base + os.sep)
