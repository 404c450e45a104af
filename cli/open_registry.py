"""The registry of the settings, as commands change it: with the swap that follows a change of production."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from adapters.registries import open_audit, open_registry
from cli.audit_records import actor
from cli.errors import Refused
from cli.output import settings
from cli.target_edit import TargetEdit, TargetRestored
from manifest.tags import LATEST
from models_import.store import ModelStore
from registry.entries import By, RegistryEntry
from registry.errors import RegistryUnavailable
from registry.file_store import DesiredFile
from registry.model_registry import Changed, ModelRegistry
from registry.promotion import FOLLOWS_PRODUCTION, prepare, register_stored
from registry.registry_audit import RegistryAudit
from settings import Settings


class OpenRegistry:
    """The registry and the store of the settings, while a command runs."""

    def __init__(self) -> None:
        self.configured: Settings = settings()
        self._store = ModelStore(self.configured.models)
        self.registry: ModelRegistry = open_registry(self.configured.registry_location)

    def __enter__(self) -> OpenRegistry:
        return self

    def __exit__(self, *_: object) -> None:
        """Record what was changed in the audit log, whatever came of it."""
        with suppress(RegistryUnavailable):
            place = open_audit(self.configured.registry_location, self.configured.home)
            RegistryAudit(self.registry, place.trail(), place.registry_mark).write()
        self.registry.close()

    def prepare(self, entry: RegistryEntry) -> None:
        """The last step before a version becomes production; see `registry.promotion.prepare`."""
        prepare(entry, self._store.look() or {}, DesiredFile(self.configured.home))

    def entry(self, name: str, version: str) -> RegistryEntry:
        """The entry of a version; one that was just imported is registered."""
        register_stored(self.registry, self._store.look() or {}, name, version, By(actor=actor()))
        return self.registry.entry(name, version)

    def change_production(self, name: str, change: Callable[[], Changed], by: By, timeout: float) -> str:
        """Change the registry, then wait until the service follows; say what came of it.

        Raises `Refused` when it cannot be served; the registry is put back then.
        """
        changed = change()
        version = changed.entry.version
        model = DesiredFile(self.configured.home).read().model(name)
        target = None if model is None or model.unloaded else model.target
        if target not in (LATEST, FOLLOWS_PRODUCTION):
            return f"{name}:{version} is production; {name} follows {target}, and serves what it served"
        edit = TargetEdit(self.configured, name, FOLLOWS_PRODUCTION, version)
        try:
            outcome = edit.make(by.reason, timeout)
        except TargetRestored as failed:
            if changed.record is not None:
                self.registry.undo(name, changed.record.number, by)
            raise Refused(f"{failed.message}; production of {name} is as before") from None
        return f"{name}:{version} is production; {outcome}"
