"""The unchanging files of one version, and what a look at the store says of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from hotswap.manifest import Measured, ModelConfig
from hotswap.tags import ModelTag


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
class VersionSight:
    """What a quick look, without hashing, says of one version in the store.

    `reason` is None for a version that may be tried, else why it is unservable and what mends it.
    """

    version: str
    digest: str | None = None
    size_bytes: int = 0
    created: datetime | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class ModelSight:
    """What a look says of one model. `latest` is what BentoML's pointer names, if that exists.

    `pointer` is None when all is well with it, else what is wrong and what mends it.
    """

    name: str
    latest: str | None
    versions: Mapping[str, VersionSight]
    pointer: str | None = None


@dataclass(frozen=True, slots=True)
class Unsettled:
    """The version may become servable by waiting: files are missing, short or still changing."""

    reason: str


@dataclass(frozen=True, slots=True)
class Unservable:
    """The version can't be served as it is; the reason says what mends it."""

    reason: str


Settling = Artifact | Unsettled | Unservable
