"""The model store with the aliases of the registry, and the registry with the versions of the store."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace

from hotswap.errors import ServingError
from hotswap.repository import ModelInfo, ModelRepository, Verified, VersionInfo
from manifest.tags import PRODUCTION, ModelTag
from registry.audit_trail import AuditTrail
from registry.entries import By
from registry.errors import RegistryUnavailable
from registry.model_registry import ModelRegistry
from registry.record_store import Pointer, Pointers
from registry.registry_audit import RegistryAudit
from registry.switches import SwitchRecorder

logger = logging.getLogger("bentoml.okawari.registry")

#: Seconds after which a registry that could not be reached is asked again.
RETRY = 2.0
#: Versions that are registered in one step.
_AT_ONCE = 500
_SERVICE = By(actor="service", reason="it appeared in the model store")


class RegisteredModels:
    """A `ModelRepository`: what the store holds, with what each alias of the registry means.

    While the registry cannot be reached, or holds a wrong edit, the last aliases hold and `problem` says why.
    """

    def __init__(
        self,
        store: ModelRepository,
        registry: ModelRegistry,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._registry = registry
        self._clock = clock
        self._pointers = Pointers("", {})
        self._again = 0.0
        self.problem: str | None = None

    def look(self) -> Mapping[str, ModelInfo] | None:
        """See `ModelRepository`."""
        models = self._store.look()
        pointers = self._read().models
        if models is None or not pointers:
            return models
        return {
            name: replace(info, aliases=_aliases(pointers[name])) if name in pointers else info
            for name, info in models.items()
        }

    def production(self, name: str) -> str | None:
        """The production version of a model, as the last look found it."""
        pointer = self._pointers.models.get(name)
        return pointer.production if pointer else None

    @property
    def row_version(self) -> str:
        """Another one whenever the registry may have changed."""
        return self._pointers.row_version

    def settle(self, tag: ModelTag) -> Verified:
        """See `ModelRepository`."""
        return self._store.settle(tag)

    def _read(self) -> Pointers:
        if self._clock() >= self._again:
            try:
                self._pointers = self._registry.pointers()
                self._note(self._pointers.problem)
            except RegistryUnavailable as error:
                self._again = self._clock() + RETRY
                self._note(error.message)
        return self._pointers

    def _note(self, problem: str | None) -> None:
        """Log a problem once, and its end."""
        before, self.problem = self.problem, problem
        if problem == before:
            return
        if problem is None:
            logger.warning("the registry can be used again")
        else:
            logger.error("the registry's last content holds: %s", problem)


def _aliases(pointer: Pointer) -> Mapping[str, str]:
    production = {PRODUCTION: pointer.production} if pointer.production else {}
    return {**(pointer.aliases or {}), **production}


class StoreRegistrar:
    """Registers as `staging` every servable version that appears in the model store.

    Each worker may have one: a version that another has registered is only noted.
    """

    def __init__(self, registry: ModelRegistry, models: Callable[[], Mapping[str, ModelInfo]]) -> None:
        """`models` says what the store holds now."""
        self._registry = registry
        self._models = models
        self._looked: dict[str, Mapping[str, VersionInfo]] = {}
        self._missing: dict[ModelTag, str | None] = {}
        self._known: set[ModelTag] = set()

    def missing(self) -> bool:
        """Whether a servable version is not known to be registered.

        Of a model whose versions are those of the last look nothing is walked through.
        """
        models = self._models()
        for name, info in models.items():
            known = self._looked.get(name)
            if known is not info.versions and known != info.versions:
                self._missing.update(
                    (tag, version.digest)
                    for version in info.versions.values()
                    if version.reason is None and (tag := ModelTag(name, version.version)) not in self._known
                )
        self._looked = {name: info.versions for name, info in models.items()}
        return bool(self._missing)

    def register(self) -> None:
        """Register what is missing, some hundred at a time. What the registry refuses is logged once."""
        self.missing()
        missing = list(self._missing.items())
        with suppress(RegistryUnavailable):  # `RegisteredModels` reports it; the rest comes next time
            for start in range(0, len(missing), _AT_ONCE):
                self._register(missing[start : start + _AT_ONCE])

    def _register(self, some: list[tuple[ModelTag, str | None]]) -> None:
        try:
            self._registry.register_each(
                [(tag, stored_path(tag.name, tag.version), digest) for tag, digest in some], _SERVICE
            )
        except RegistryUnavailable:
            raise
        except ServingError as error:
            if len(some) > 1:  # one that is refused must not keep the others out
                for one in some:
                    self._register([one])
                return
            logger.warning("cannot register %s: %s", some[0][0], error.message)
        for tag, _ in some:
            self._known.add(tag)
            self._missing.pop(tag, None)


def stored_path(name: str, version: str) -> str:
    """Where a version of the model store lies, from the folder that holds `models/`."""
    return f"models/{name}/{version}"


class RegistryUpkeep:
    """Writes what waits, one thread at a time; a registry that is away is asked again at the next look."""

    def __init__(
        self,
        models: RegisteredModels,
        audit: AuditTrail,
        switches: SwitchRecorder,
        registrar: StoreRegistrar,
        changes: RegistryAudit,
    ) -> None:
        self._models = models
        self._audit = audit
        self._switches = switches
        self._registrar = registrar
        self._changes = changes
        self._audited = ""
        self._writing = threading.Lock()

    @property
    def is_due(self) -> bool:
        """Whether something waits and nobody writes it."""
        if self._writing.locked():
            return False
        waits = self._models.row_version != self._audited or self._switches.waiting or self._audit.waiting
        return bool(waits or self._registrar.missing())

    def write(self) -> None:
        """Write all that waits; a database may be slow, so call it in a thread of its own."""
        with self._writing:
            self._audit.write()
            self._switches.write()
            self._registrar.register()
            row_version = self._models.row_version
            with suppress(RegistryUnavailable):  # the models report it
                if self._changes.write():
                    self._audited = row_version
