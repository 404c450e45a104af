"""What the command line writes into the audit log: imports, and who gave the command."""

from __future__ import annotations

import getpass
import os
from collections.abc import Callable
from pathlib import Path

from models_import.importer import Imported
from registry.audit import AuditedDecision
from registry.audit_trail import trail_of


def actor() -> str:
    """The user who gave the command."""
    try:
        return f"cli:{getpass.getuser()}"
    except (KeyError, OSError):  # a container's user need not have a name
        return f"cli:{os.getuid()}"


def record_imports(home: Path) -> Callable[[Imported], None]:
    """A listener of an importer: one record per version that has come in."""
    trail = trail_of(home)

    def record(version: Imported) -> None:
        tag = version.tag
        digests = {tag.version: version.digest}
        trail.add(
            AuditedDecision(
                "import", tag.name, actor(), after=tag.version, digests=digests, outcome=version.outcome
            )
        )

    return record
