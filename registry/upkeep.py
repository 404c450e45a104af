"""Brings into the registry and the audit log what a worker has seen: switches, new versions, changes."""

from __future__ import annotations

import threading
from contextlib import suppress

from registry.audit_trail import AuditTrail
from registry.errors import RegistryUnavailable
from registry.registered_models import RegisteredModels, StoreRegistrar
from registry.registry_audit import RegistryAudit
from registry.switches import SwitchRecorder


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
