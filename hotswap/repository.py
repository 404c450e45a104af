"""The model repository as the core sees it: artifacts, models, versions, and what a target means."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Protocol

from manifest.tags import ALIAS_SIGN, LATEST, PRODUCTION, ModelTag, alias_of
from manifest.version_manifest import Measured, ModelConfig


@dataclass(frozen=True, slots=True)
class Artifact:
    """One settled version: every file is there and matches its digest."""

    tag: ModelTag
    path: Path
    weights: Path
    digest: str
    config: ModelConfig
    created: datetime
    size_bytes: int
    measured: Measured | None = None


@dataclass(frozen=True, slots=True)
class VersionInfo:
    """What a quick look, without hashing, says of one version in the store.

    `reason` is None for a version that may be tried, else why it is unservable and what fixes it. `config`
    and `measured` are what its files say of it, where they can be read.
    """

    version: str
    digest: str | None = None
    size_bytes: int = 0
    created: datetime | None = None
    reason: str | None = None
    config: ModelConfig | None = field(default=None, hash=False, repr=False)
    measured: Measured | None = field(default=None, hash=False, repr=False)


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """What a look says of one model. `latest` is what BentoML's pointer names, if that exists.

    `pointer` is None when all is well with it, else what is wrong and what fixes it. `aliases` says which
    version each alias of the registry names, `production` among them.
    """

    name: str
    latest: str | None
    versions: Mapping[str, VersionInfo]
    pointer: str | None = None
    aliases: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Incomplete:
    """The version may become servable by waiting: files are missing, short or still changing."""

    reason: str


@dataclass(frozen=True, slots=True)
class Invalid:
    """The version can't be served as it is; the reason says what fixes it."""

    reason: str


Verified = Artifact | Incomplete | Invalid


class ModelRepository(Protocol):
    """A place where versions come from."""

    def look(self) -> Mapping[str, ModelInfo] | None:
        """All models by name; None when the place itself cannot be read (away, unmounted)."""
        ...

    def settle(self, tag: ModelTag) -> Verified:
        """Check every file of one version, which a target names, against its manifest."""
        ...


@dataclass(frozen=True, slots=True)
class Resolved:
    """What a target means now: a version, or None with the reason."""

    version: str | None
    reason: str | None = None


def resolve(target: str, model: ModelInfo | None) -> Resolved:
    """Say which version a target (`latest`, an alias or an exact version) means; pure."""
    if model is None:
        return Resolved(None, "the model is not in the store")
    if target == LATEST:
        return Resolved(model.latest, model.pointer)
    if (alias := alias_of(target)) is not None:
        return _aliased(alias, model)
    if target in model.versions:
        return Resolved(target)
    return Resolved(None, f"version {target} is not in the store")


def _aliased(alias: str, model: ModelInfo) -> Resolved:
    version = model.aliases.get(alias)
    if version is None:
        kind = "production model" if alias == PRODUCTION else f"alias {alias}"
        return Resolved(None, f"No {kind} found in registry for {model.name}")
    if version not in model.versions:
        return Resolved(None, f"version {version}, which {ALIAS_SIGN}{alias} names, is not in the store")
    return Resolved(version)
