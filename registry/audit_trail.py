"""What goes into the audit log, from every process of a service: switches, refusals, changes of targets."""

from __future__ import annotations

import logging
import re
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from hotswap.desired import DesiredModel, DesiredState, DesiredStore, Edit
from hotswap.errors import StateUnavailable
from hotswap.events import Observer, Swap
from hotswap.tags import ModelTag
from registry.audit import AuditedDecision, AuditLog
from registry.audit_file import AuditFile
from registry.audit_key import AuditKey, BadKey

logger = logging.getLogger("bentoml.okawari.registry")

#: Decisions that wait while the log cannot be written; then the oldest are dropped.
_MOST_WAITING = 1000
#: Seconds between two attempts.
_PAUSE = 5.0


class AuditTrail(Observer):
    """Records decisions in the order in which they come. What cannot be stored waits for the next `retry`."""

    def __init__(self, log: AuditLog, run: str = "") -> None:
        """`run` names this run of the service: each has a record of the version that a model starts with."""
        self._log = log
        self._run = run
        self._waiting: deque[AuditedDecision] = deque(maxlen=_MOST_WAITING)
        self._lock = threading.Lock()
        self._trouble: str | None = None
        self._retry_at = 0.0

    def add(self, decision: AuditedDecision) -> None:
        """Record a decision, now if the log can be written."""
        self._waiting.append(replace(decision, time=decision.time or datetime.now(UTC)))
        self._store()

    def retry(self) -> None:
        """Try again to store what waits, some seconds after the last failure."""
        if self._waiting and time.monotonic() > self._retry_at:
            self._store()

    def _store(self) -> None:
        with self._lock:
            while self._waiting and self._stored(self._waiting[0]):
                self._waiting.popleft()

    def _stored(self, decision: AuditedDecision) -> bool:
        try:
            self._log.record(decision)
        except (OSError, StateUnavailable, BadKey) as error:
            self._retry_at = time.monotonic() + _PAUSE
            if str(error) != self._trouble:
                self._trouble = str(error)
                logger.warning("the audit log cannot be written, decisions wait in memory: %s", error)
            return False
        self._trouble = None
        return True

    def published(self, swap: Swap) -> None:
        """Another version answers: the decision with this number, which every worker reports."""
        self.add(
            AuditedDecision(
                "switch",
                swap.name,
                swap.actor,
                swap.reason,
                swap.before,
                swap.after,
                {swap.after: swap.digest} if swap.after and swap.digest else {},
                "serving" if swap.after else "unloaded",
                f"switch/{self._run}/{swap.name}/{swap.number}",
            )
        )

    def failed(self, tag: ModelTag, reason: str, retry_in: float) -> None:  # noqa: ARG002
        """A version was refused; once for each reason, whatever numbers are in it, not for each retry."""
        kind = re.sub(r"\d+", "#", reason)[:200]
        self.add(
            AuditedDecision(
                "refusal",
                tag.name,
                after=tag.version,
                reason=reason,
                outcome="refused",
                source=f"refusal/{self._run}/{tag}/{kind}",
            )
        )


def trail_of(home: Path, run: str = "") -> AuditTrail:
    """The way to the audit log of a home; any process may have one."""
    folder = home / "state"
    return AuditTrail(AuditLog(AuditFile(folder), AuditKey(folder)), run)


class AuditedDesired:
    """A store of the desired state whose changes of targets are recorded, one record per changed model."""

    def __init__(self, store: DesiredStore, add: Callable[[AuditedDecision], None]) -> None:
        self._store = store
        self._add = add

    def read(self) -> DesiredState:
        """The document as it is now."""
        return self._store.read()

    def edit(self, change: Edit) -> DesiredState:
        """Apply `change` as one step, then record it; see `DesiredStore.edit`."""
        seen: list[DesiredState] = []

        def watched(document: DesiredState) -> DesiredState:
            seen.append(document)
            return change(document)

        after = self._store.edit(watched)
        before = seen[-1]
        for name, model in after.models.items():
            old = before.models.get(name, DesiredModel())
            if model.revision != old.revision:
                self._add(_change(name, old, model, _wish(before, name), _wish(after, name)))
        return after


def _wish(document: DesiredState, name: str) -> str | None:
    """What a model follows; None where no version is wanted."""
    model = document.model(name)
    return None if model is None or model.unloaded else model.target


def _change(
    name: str, old: DesiredModel, new: DesiredModel, before: str | None, after: str | None
) -> AuditedDecision:
    # Whatever puts a change back restores the time of the one before.
    if old.changed is not None and (new.changed is None or new.changed < old.changed):
        return AuditedDecision("target", name, old.actor, None, before, after, outcome="put back")
    return AuditedDecision("target", name, new.actor, new.reason, before, after)
