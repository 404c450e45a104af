"""What the command line writes into the audit log: imports, and who gave the command."""

from __future__ import annotations

import getpass
import os
from collections.abc import Callable
from dataclasses import replace

from adapters.registries import open_audit
from models_import.importer import Imported
from registry.audit import AuditedDecision
from registry.audit_trail import import_source
from settings import Settings


def actor() -> str:
    """The user who gave the command."""
    try:
        return f"cli:{getpass.getuser()}"
    except (KeyError, OSError):  # a container's user need not have a name
        return f"cli:{os.getuid()}"


def record_imports(configured: Settings) -> Callable[[Imported], None]:
    """A listener of an importer: one record per version that has come in."""
    trail = open_audit(configured.registry_location, configured.home).trail()

    def record(version: Imported) -> None:
        tag = version.tag
        decision = AuditedDecision(
            "import",
            tag.name,
            actor(),
            after=tag.version,
            digests={tag.version: version.digest},
            outcome=version.outcome,
            source=import_source(tag, version.digest),
        )
        if not trail.add(decision):
            # It was removed, and comes in again; or the service was quicker, and has only found it.
            trail.add(replace(decision, source=None))

    return record
