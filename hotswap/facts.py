"""What one process knows: what the store holds, what is wished, what answers, loads and has failed."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from hotswap.artifact import ModelSight, VersionSight
from hotswap.backoff import Backoff, Clock
from hotswap.commits import Commits
from hotswap.desired import Desired
from hotswap.generation import State
from hotswap.plan import Actual
from hotswap.slot import Slot
from hotswap.source import resolve
from hotswap.tags import ModelTag


class Facts:
    """Written by the reconciler's thread (states in `loading` by the loader's, too), read by any."""

    def __init__(self, commits: Commits, clock: Clock, wake: Callable[[], None]) -> None:
        self.commits = commits
        self.backoff = Backoff(clock)
        self.loading: dict[ModelTag, State] = {}
        self.slots: dict[str, Slot] = {}
        self.sights: Mapping[str, ModelSight] = {}
        self.document = Desired()
        self._wake = wake

    def sight(self, tag: ModelTag) -> VersionSight | None:
        """What the store showed of a version."""
        model = self.sights.get(tag.name)
        return model.versions.get(tag.version) if model else None

    def meant(self, name: str, target: str) -> str | None:
        """The version that a target means now; None when that cannot be told."""
        return resolve(target, self.sights.get(name)).version

    def waiting(self, tag: ModelTag) -> bool:
        """Whether a version failed and is not to be tried yet."""
        return self.backoff.waiting(tag, self.sight(tag))

    def slot(self, name: str) -> Slot:
        """The slot of a model, made if absent."""
        known = self.slots.get(name)
        if known is None:
            self.slots[name] = known = Slot(name, self.commits, self._wake)
        return known

    def actual(self, name: str) -> Actual:
        """What the slot of a model does now."""
        slot = self.slots.get(name)
        current = slot.current if slot else None
        prepared = slot.prepared if slot else None
        return Actual(
            serving=current.tag.version if current else None,
            prepared=prepared.tag.version if prepared else None,
            loading=frozenset(tag.version for tag in self.loading if tag.name == name),
            waiting=frozenset(
                tag.version for tag in self.backoff.failures if tag.name == name and self.waiting(tag)
            ),
        )
