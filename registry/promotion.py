"""Promotion and rollback in the running service: a change of the record waits until it serves."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass

from hotswap.control import Control, TargetChange
from hotswap.desired import DesiredStore, note_promotion, set_target
from hotswap.errors import Conflict, ModelNotFound, StateUnavailable, VersionFailed, VersionNotFound
from hotswap.repository import ModelInfo, ModelRepository
from hotswap.status import StateView
from manifest.tags import ALIAS_SIGN, LATEST, PRODUCTION
from registry.entries import By, RegistryEntry, checked_version
from registry.errors import AlreadyRegistered
from registry.model_registry import Changed, ModelRegistry
from registry.registered_models import stored_path

FOLLOWS_PRODUCTION = f"{ALIAS_SIGN}{PRODUCTION}"


@dataclass(frozen=True, slots=True)
class Promotion:
    """What a change of production has led to.

    `target` is what the model's slot follows now (None: it is not wanted), `serving` what answers in this
    service. `done` is False while the swap still runs.
    """

    entry: RegistryEntry
    target: str | None
    serving: str | None
    moved: bool
    done: bool

    @property
    def note(self) -> str:
        """What this means for the model's slot."""
        name = self.entry.model_name
        if self.target is None:
            return f"{name} is not served here"
        if self.moved:
            return f"{name} followed {LATEST} and follows {FOLLOWS_PRODUCTION} now"
        if self.target != FOLLOWS_PRODUCTION:
            return f"{name} follows {self.target}, so that what serves has not changed"
        return f"{name} follows {FOLLOWS_PRODUCTION}"


def check_servable(entry: RegistryEntry, models: Mapping[str, ModelInfo]) -> None:
    """Raise `Conflict` with the reason when the files of a version are gone or cannot be served."""
    model = models.get(entry.model_name)
    found = model.versions.get(entry.version) if model else None
    reason = "its files are not in the model store" if found is None else found.reason
    if reason is not None:
        raise Conflict(f"{entry.model_name}:{entry.version} cannot be served: {reason}")


def prepare(entry: RegistryEntry, models: Mapping[str, ModelInfo], desired: DesiredStore) -> None:
    """The last step before the registry is changed: check the version, and note what is about to happen.

    Whoever is killed between the registry and the target leaves that note. Raises `Conflict` as
    `check_servable` does, and `StateUnavailable`.
    """
    check_servable(entry, models)
    try:
        desired.edit(note_promotion(entry.model_name, entry.version))
    except OSError as error:
        raise StateUnavailable(f"nothing was changed: the state cannot be written: {error}") from None


def finish_promotions(desired: DesiredStore, open_registry: Callable[[], ModelRegistry]) -> None:
    """Change the targets of models whose promotion was cut off after the registry was changed.

    Called before the service starts. Raises `RegistryUnavailable`, `OSError`; then
    the next call does it.
    """
    begun = {name: model.promoting for name, model in desired.read().models.items() if model.promoting}
    if not begun:
        return
    registry = open_registry()
    try:
        pointers = registry.pointers().models
    finally:
        registry.close()
    for name, version in begun.items():
        is_made = name in pointers and pointers[name].production == version
        desired.edit(
            set_target(name, FOLLOWS_PRODUCTION, "service", f"the promotion of {version} was cut off")
            if is_made
            else note_promotion(name, None)
        )


def register_stored(
    registry: ModelRegistry, models: Mapping[str, ModelInfo], name: str, version: str | int, by: By
) -> None:
    """Register a version of the store that has just been imported, unless it is registered."""
    text = checked_version(version)
    found = models[name].versions.get(text) if name in models else None
    if found is None:
        return
    try:
        registry.entry(name, text)
    except (ModelNotFound, VersionNotFound):
        with suppress(AlreadyRegistered):
            by = By(actor=by.actor, reason=by.reason)
            registry.register(name, text, stored_path(name, text), digest=found.digest, by=by)


class Promotions:
    """Changes of production of one service: registry first, then the slot that follows it."""

    def __init__(
        self,
        registry: ModelRegistry,
        control: Control,
        view: StateView,
        repository: ModelRepository,
        desired: DesiredStore,
    ) -> None:
        self._registry = registry
        self._control = control
        self._view = view
        self._repository = repository
        self._desired = desired

    async def activate(self, name: str, version: str | int, by: By, seconds: float) -> Promotion:
        """Make a version production and serve it where the model's slot follows `latest` or `@production`.

        Raises `Conflict` when it cannot be served, or when loading it failed: the registry and the target
        are then as before. Raises what `ModelRegistry.activate` raises, and `Superseded`.
        """

        def change() -> Changed:
            register_stored(self._registry, self.look(), name, version, by)
            return self._registry.activate(name, version, by, self._prepare)

        return await self._promote(name, change, by, seconds)

    async def rollback(self, name: str, by: By, seconds: float) -> Promotion:
        """Make the version production that was so before; as `activate` does."""
        return await self._promote(
            name, lambda: self._registry.rollback(name, by, self._prepare), by, seconds
        )

    def look(self) -> Mapping[str, ModelInfo]:
        """What the store holds now, or held when it was last there."""
        models = self._repository.look()
        return self._view.infos() if models is None else models

    def _prepare(self, entry: RegistryEntry) -> None:
        prepare(entry, self.look(), self._desired)

    async def _promote(self, name: str, change: Callable[[], Changed], by: By, seconds: float) -> Promotion:
        changed = await asyncio.to_thread(change)
        await self._control.fresh()
        before = self._target(name)
        if before not in (LATEST, FOLLOWS_PRODUCTION):
            return self._result(changed, name, moved=False, done=True)
        target = TargetChange(name, FOLLOWS_PRODUCTION, by.actor, reason=by.reason)
        try:
            done = await self._control.set_target(target, seconds)
        except VersionFailed as failed:
            raise await self._taken_back(changed, name, by, failed) from None
        return self._result(changed, name, moved=before == LATEST, done=done)

    async def _taken_back(self, changed: Changed, name: str, by: By, failed: VersionFailed) -> Conflict:
        """Undo the change in the registry; the error that says so."""
        if changed.record is None:
            return Conflict(failed.message)
        reason = f"taken back: {failed.message}"[:500]
        undo = By(actor=by.actor, reason=reason)
        await asyncio.to_thread(self._registry.undo, name, changed.record.number, undo)
        return Conflict(f"{failed.message}; production of {name} is as before")

    def _target(self, name: str) -> str | None:
        model = self._view.desired.model(name)
        return None if model is None or model.unloaded else model.target

    def _result(self, changed: Changed, name: str, *, moved: bool, done: bool) -> Promotion:
        target, serving = self._target(name), self._view.serving(name)
        return Promotion(changed.entry, FOLLOWS_PRODUCTION if moved else target, serving, moved, done)
