"""What one process knows: what the store holds, what is wished, what answers, loads and has failed."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from hotswap.backoff import Backoff, Clock
from hotswap.coordination import Coordinator
from hotswap.desired import DesiredState, DesiredStore, settle_default
from hotswap.generation import State
from hotswap.plan import Actual
from hotswap.repository import ModelInfo, ModelRepository, VersionInfo, resolve
from hotswap.slot import Slot
from hotswap.tags import ModelTag


class ObservedState:
    """Written by the reconciler's thread (states in `loading` by the loader's, too), read by any."""

    def __init__(self, commits: Coordinator, clock: Clock, wake: Callable[[], None]) -> None:
        self.commits = commits
        self.backoff = Backoff(clock)
        self.loading: dict[ModelTag, State] = {}
        self.slots: dict[str, Slot] = {}
        self.sights: Mapping[str, ModelInfo] = {}
        self.document = DesiredState()
        self._wake = wake

    def sight(self, tag: ModelTag) -> VersionInfo | None:
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


logger = logging.getLogger("bentoml.okawari.hotswap")


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What was seen. `away`: the store is not there, `sights` are those of the look before."""

    sights: Mapping[str, ModelInfo] = field(default_factory=dict)
    document: DesiredState = field(default_factory=DesiredState)
    away: bool = False
    trouble: str | None = None


class SnapshotReader:
    """Looks for one process."""

    def __init__(self, source: ModelRepository, store: DesiredStore) -> None:
        self._source = source
        self._store = store
        self._read_once = False

    def look(self, before: Snapshot) -> Snapshot:
        """Look again. Raises what the store raises, and what the first reading of the wishes raises."""
        seen = self._source.look()
        sights = before.sights if seen is None else seen
        document, trouble = self._read(before.document)
        if document.default is None and sights:
            document = self._settle_default(document, sights)
        return Snapshot(sights, document, seen is None, trouble)

    def _read(self, before: DesiredState) -> tuple[DesiredState, str | None]:
        """Read what is wanted. Once it was read, damage of the file stops neither serving nor swaps."""
        try:
            document = self._store.read()
            self._read_once = True
        except Exception as error:
            if not self._read_once:
                raise
            return before, f"the desired state cannot be read, the last one holds: {error}"
        return document, None

    def _settle_default(self, document: DesiredState, sights: Mapping[str, ModelInfo]) -> DesiredState:
        """Store the default if it can be told. A state that can't be written must not stop a swap."""
        change = settle_default(sorted(sights))
        if change(document) == document:
            return document  # nothing to write: no lock at every look
        try:
            return self._store.edit(change)
        except Exception as error:  # noqa: BLE001 - see the promise above
            logger.debug("cannot remember the default model: %s", error)
            return change(document)
