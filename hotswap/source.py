"""Which versions there are and which should serve. The watcher only wakes whoever asks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from hotswap.artifact import ModelSight, Settling
from hotswap.tags import LATEST, ModelTag


class Source(Protocol):
    """A place where versions come from."""

    def look(self) -> Mapping[str, ModelSight] | None:
        """All models by name; None when the place itself cannot be read (away, unmounted)."""
        ...

    def settle(self, tag: ModelTag) -> Settling:
        """Check every file of one version, which a target names, against its manifest."""
        ...


@dataclass(frozen=True, slots=True)
class Resolved:
    """What a target means now: a version, or None with the reason."""

    version: str | None
    reason: str | None = None


def resolve(target: str, sight: ModelSight | None) -> Resolved:
    """Say which version a target (`latest` or an exact version) means; pure."""
    if sight is None:
        return Resolved(None, "the model is not in the store")
    if target == LATEST:
        return Resolved(sight.latest, sight.pointer)
    if target in sight.versions:
        return Resolved(target)
    return Resolved(None, f"version {target} is not in the store")
