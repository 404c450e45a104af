"""The observed state of one process: the store, what is desired, what serves, loads and has failed."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from hotswap.backoff import Backoff, Clock
from hotswap.coordination import Coordinator, Decision
from hotswap.desired import DesiredModel, DesiredState, DesiredStore, settle_default
from hotswap.errors import ModelNotReady
from hotswap.generation import Keeps, Lease, State, keeps_none
from hotswap.plan import Actual, Want, next_version
from hotswap.repository import ModelInfo, ModelRepository, VersionInfo, resolve
from hotswap.slot import Slot
from manifest.tags import ModelTag
from residency.table import LocalTable, ResidencyTable

logger = logging.getLogger("bentoml.okawari.hotswap")


@dataclass(frozen=True, slots=True)
class MemoryRefusal:
    """Why a version is not in memory yet; see `residency.planner.LoadAdmission`."""

    reason: str
    hopeless: bool = False
    coming: bool = False
    version: str | None = None


class ObservedState:
    """Written by the reconciler's thread (states in `loading` by the loader's, too), read by any.

    `models` is what the store held when it was last there, `desired` the desired state as it was read last.
    `refusals` says why other workers refuse what is prepared here, by model. `trouble` is what went wrong
    in the last look. `wants` is what was wanted of each model then, `memory_refusals` say who found no room.
    `edited` are the models of which something else is desired since, by name: that comes unasked.
    """

    def __init__(
        self,
        repository: ModelRepository,
        store: DesiredStore,
        coordinator: Coordinator,
        clock: Clock,
        wake: Callable[[], None],
        *,
        table: ResidencyTable | None = None,
        keeps: Keeps = keeps_none,
    ) -> None:
        """`keeps`: which versions stay in memory for a while after another has come to answer."""
        self.coordinator = coordinator
        self.table = table or LocalTable()
        self.wants: Mapping[str, Want] = {}
        self.memory_refusals: Mapping[str, MemoryRefusal] = {}
        self.backoff = Backoff(clock)
        self.loading: dict[ModelTag, State] = {}
        self.slots: dict[str, Slot] = {}
        self.models: Mapping[str, ModelInfo] = {}
        self.desired = DesiredState()
        self.refusals: dict[str, tuple[str, ...]] = {}
        self.trouble: str | None = None
        self.edited: set[str] = set()
        self._repository = repository
        self._store = store
        self._read_once = self._looked = False
        self._wake = wake
        self._keeps = keeps

    # --- what is asked -------------------------------------------------------------------------

    def version(self, tag: ModelTag) -> VersionInfo | None:
        """What the store held of a version."""
        model = self.models.get(tag.name)
        return model.versions.get(tag.version) if model else None

    def resolved(self, name: str, target: str) -> str | None:
        """The version that a target means now; None when it means none."""
        return resolve(target, self.models.get(name)).version

    def waiting(self, tag: ModelTag) -> bool:
        """Whether a version failed and is not to be tried yet."""
        return self.backoff.waiting(tag, self.version(tag))

    def desired_model(self, name: str) -> DesiredModel:
        """What is stored of a model; the defaults where nothing is."""
        return self.desired.models.get(name) or DesiredModel()

    def borrow_current(self, name: str) -> Lease | None:
        """Borrow the version of a model that answers now; None when none does."""
        slot = self.slots.get(name)
        try:
            return slot.lease() if slot else None
        except ModelNotReady:
            return None

    def actual(self, name: str) -> Actual:
        """What the slot of a model does now."""
        slot = self.slots.get(name)
        current = slot.current if slot else None
        prepared = slot.prepared if slot else None
        return Actual(
            serving=current.tag.version if current else None,
            prepared=prepared.tag.version if prepared else None,
            candidate=slot.candidate.tag.version if slot and slot.candidate else None,
            aside=slot.aside.tag.version if slot and slot.aside else None,
            loading=frozenset(tag.version for tag in self.loading if tag.name == name),
            waiting=frozenset(
                tag.version for tag in self.backoff.failures if tag.name == name and self.waiting(tag)
            ),
        )

    def version_to_bring(self, name: str) -> str | None:
        """The version that a request would bring into memory; None where it would bring none."""
        want, slot = self.wants.get(name), self.slots.get(name)
        model = self.desired.model(name)
        if want is None or model is None or model.unloaded or (slot is not None and slot.current is not None):
            return None
        if not self._is_away(name):
            return None
        waiting = {version for version in (want.version, want.last_good) if version is not None}
        failed = frozenset(each for each in waiting if self.waiting(ModelTag(name, each)))
        return next_version(want, Actual(waiting=failed))

    def _is_away(self, name: str) -> bool:
        """Whether memory is why no version answers: what fails to load is not away."""
        residents, slot = self.table.residents(), self.slots.get(name)
        if name in residents.evictions or name in self.memory_refusals or (slot is not None and slot.evicted):
            return True
        return any(one.leaving or not one.eager for one in residents.of(name))

    def unfollowed(self, name: str) -> Decision | None:
        """The decision of the workers that this process has yet to load a version for; None when it has."""
        slot = self.slots.get(name)
        if slot is None or slot.effective() is not None:
            return None
        return self.coordinator.decision(name, self.coordinator.number(name))

    def version_to_follow(self, name: str) -> str | None:
        """The version that the others answer with and this process does not, unless it cannot be loaded."""
        decided = self.unfollowed(name)
        if decided is None or decided.version is None:
            return None
        tag = ModelTag(name, decided.version)
        return None if self.version(tag) is None or self.waiting(tag) else decided.version

    def cannot_follow(self, name: str) -> bool:
        """Whether what was decided cannot be loaded here, so that waiting for it does not help."""
        return self.unfollowed(name) is not None and self.version_to_follow(name) is None

    # --- the reconciler's side -----------------------------------------------------------------

    def slot(self, name: str) -> Slot:
        """The slot of a model, made if absent."""
        known = self.slots.get(name)
        if known is None:
            use = self.table.use(name)
            self.slots[name] = known = Slot(name, self.coordinator, self._wake, use, self._keeps)
        return known

    def refresh(self) -> str | None:
        """Read the store and the desired state again; what cannot be read stays as it was last seen.

        Return what is wrong with the desired state. Raises what the store raises, and what the first reading
        of the desired state raises.
        """
        models = self._repository.look()
        if models is not None:
            self.models = models
        desired, trouble = self._read()
        if desired.default is None and self.models:
            desired = self._settle_default(desired)
        if models is not None:
            self.backoff.keep(lambda tag: self.version(tag) is not None)
        self._forgive_changed(desired)
        if self._looked:
            self.edited.update(name for name in desired.models if self._is_edited(name, desired))
        self._looked = True
        self.desired = desired
        return trouble

    def _read(self) -> tuple[DesiredState, str | None]:
        """Once it was read, damage of the file stops neither serving nor swaps."""
        try:
            desired = self._store.read()
            self._read_once = True
        except Exception as error:
            if not self._read_once:
                raise
            return self.desired, f"the desired state cannot be read, the last one holds: {error}"
        return desired, None

    def _settle_default(self, desired: DesiredState) -> DesiredState:
        """Store the default if it is clear. A state that can't be written must not stop a swap."""
        change = settle_default(sorted(self.models))
        if change(desired) == desired:
            return desired  # nothing to write: no lock at every look
        try:
            return self._store.edit(change)
        except Exception as error:  # noqa: BLE001 - see the promise above
            logger.debug("cannot store the default model: %s", error)
            return change(desired)

    def _forgive_changed(self, desired: DesiredState) -> None:
        """What is desired anew, maybe through another worker, may be tried at once."""
        for tag in list(self.backoff.failures):
            if not self._is_edited(tag.name, desired):
                continue
            if tag.version == self.resolved(tag.name, desired.models[tag.name].target):
                self.backoff.forgive(tag)

    def _is_edited(self, name: str, desired: DesiredState) -> bool:
        """Whether something else is desired of a model than at the last look."""
        before, now = self.desired.models.get(name), desired.models.get(name)
        return now is not None and now.revision != (before.revision if before else 0)
