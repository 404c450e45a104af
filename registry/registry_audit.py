"""Brings changes of the registry into the audit log, each once, also those that a kill left out."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from common.files import write_atomically
from manifest.tags import ModelTag
from registry import audit
from registry.audit import AuditedDecision
from registry.audit_trail import AuditTrail, import_source
from registry.entries import Action, ChangeRecord
from registry.model_registry import ModelRegistry

_MOST = 500
#: What a change is in the audit log.
_ACTIONS: Mapping[Action, audit.Action] = {
    Action.REGISTER: "import",
    Action.ACTIVATE: "promotion",
    Action.ROLLBACK: "rollback",
    Action.UNDO: "rollback",
    Action.STAGE: "edit",
    Action.ARCHIVE: "archive",
    Action.REJECT: "refusal",
    Action.SET_ALIAS: "alias",
    Action.DELETE_ALIAS: "alias",
    Action.DESCRIBE: "edit",
    Action.FILE_EDIT: "edit",
}
_OUTCOMES: Mapping[Action, str] = {Action.REGISTER: "imported", Action.UNDO: "put back"}


class RegistryAudit:
    """Reads the registry's history from where the last reading ended, which a file keeps.

    Several processes may have one: a change that two of them bring is recorded once, by its number.
    """

    def __init__(self, registry: ModelRegistry, trail: AuditTrail, mark: Path) -> None:
        """`mark` is a file of this home, one for each registry."""
        self._registry = registry
        self._trail = trail
        self._mark = mark

    def write(self) -> bool:
        """Record every change that is not recorded; False where the log cannot be written.

        Raises `RegistryUnavailable`.
        """
        while changes := self._registry.changes(self._done(), _MOST):
            if not self._trail.add_each(map(_decision, changes)):
                return False
            write_atomically(self._mark, f"{changes[-1].number}\n".encode())
        return True

    def _done(self) -> int:
        try:
            return int(self._mark.read_text())
        except (FileNotFoundError, ValueError):
            return 0


def _decision(change: ChangeRecord) -> AuditedDecision:
    pairs = ((change.before, change.before_digest), (change.after or change.version, change.after_digest))
    alias = f"@{change.alias} " if change.alias else ""
    return AuditedDecision(
        _ACTIONS[change.action],
        change.model_name,
        change.actor,
        change.reason,
        f"{alias}{change.before}" if change.before else None,
        f"{alias}{change.after or change.version}" if change.after or not change.alias else None,
        {version: digest for version, digest in pairs if version and digest},
        _OUTCOMES.get(change.action, str(change.status or "done")),
        _source(change),
        change.time,
    )


def _source(change: ChangeRecord) -> str:
    if change.action is Action.REGISTER and change.version:
        return import_source(ModelTag(change.model_name, change.version), change.after_digest)
    return f"registry/{change.time.isoformat()}/{change.number}"
