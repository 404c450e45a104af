"""What goes into the audit log, from every process of a service: switches, refusals, changes of targets."""

from __future__ import annotations

import logging
import re
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import UTC, datetime
from itertools import islice

from hotswap.desired import DesiredModel, DesiredState, DesiredStore, Edit
from hotswap.errors import StateUnavailable
from hotswap.events import Observer, Swap
from manifest.tags import ModelTag, alias_of
from registry.audit import Action, AuditedDecision, AuditLog, Record
from registry.audit_key import BadKey

logger = logging.getLogger("bentoml.okawari.registry")

#: Decisions that wait while the log cannot be written; then the oldest are dropped.
_MOST_WAITING = 1000
#: Decisions that are stored in one step.
_AT_ONCE = 500
#: Seconds between two attempts.
_PAUSE = 5.0


class AuditTrail(Observer):
    """Records decisions in the order in which they come. What cannot be stored waits for the next `write`."""

    def __init__(self, log: AuditLog, run: str = "", *, at_once: bool = True) -> None:
        """`run` names this run of the service: each has a record of the version that a model starts with.

        Without `at_once` every decision waits for the next `write`: a database may be slow, or away.
        """
        self._log = log
        self._run = run
        self._at_once = at_once
        self._waiting: deque[AuditedDecision] = deque(maxlen=_MOST_WAITING)
        self._lock = threading.Lock()
        self._trouble: str | None = None
        self._retry_at = 0.0

    def add(self, decision: AuditedDecision) -> bool:
        """Record a decision, now if the log can be written; False where the log has it from its source."""
        timed = replace(decision, time=decision.time or datetime.now(UTC))
        self._waiting.append(timed)
        return not self._at_once or timed not in self.write()

    def add_each(self, decisions: Iterable[AuditedDecision]) -> bool:
        """Record decisions, some hundred at most, in one step; whether the log has them all."""
        self.write()
        if self._waiting:
            return False
        self._waiting.extend(decisions)
        self.write()
        return not self._waiting

    @property
    def waiting(self) -> bool:
        """Whether it is time to `write` something: some seconds pass after a failure."""
        return bool(self._waiting) and time.monotonic() > self._retry_at

    def write(self) -> list[AuditedDecision]:
        """Store what waits, as far as that is possible; return what the log had already."""
        known: list[AuditedDecision] = []
        with self._lock:
            while some := list(islice(self._waiting, _AT_ONCE)):
                records = self._stored(some)
                if not records:
                    break
                known += [one for one, record in zip(some, records, strict=True) if record is None]
                done = set(map(id, some))
                while self._waiting and id(self._waiting[0]) in done:
                    self._waiting.popleft()
        return known

    def _stored(self, decisions: list[AuditedDecision]) -> list[Record | None]:
        """What came of each decision; nothing where the log cannot be written."""
        try:
            records = self._log.record_each(decisions)
        except (OSError, StateUnavailable, BadKey) as error:
            self._retry_at = time.monotonic() + _PAUSE
            if str(error) != self._trouble:
                self._trouble = str(error)
                logger.warning("the audit log cannot be written, decisions wait in memory: %s", error)
            return []
        self._trouble = None
        return records

    def close(self) -> None:
        """Give back what the log holds open."""
        self._log.close()

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


def import_source(tag: ModelTag, digest: str | None) -> str:
    """What names the import of a version, for who imports it and for who finds it in the store."""
    return f"import/{tag}/{digest}"


class AuditedDesired:
    """A store of the desired state whose changes of targets are recorded, one record per changed model.

    Who lets a model follow something else than its production version has overridden the registry.
    """

    def __init__(
        self,
        store: DesiredStore,
        add: Callable[[AuditedDecision], object],
        production: Callable[[str], str | None],
    ) -> None:
        """`production` says which version of a model the registry wants; None where it wants none."""
        self._store = store
        self._add = add
        self._production = production

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
            wishes = _wish(before, name), _wish(after, name)
            if model.revision != old.revision and wishes[0] != wishes[1]:
                self._add(self._decision(name, old, model, *wishes))
        return after

    def _decision(
        self, name: str, old: DesiredModel, new: DesiredModel, before: str | None, after: str | None
    ) -> AuditedDecision:
        # Whatever puts a change back restores the time of the one before.
        if old.changed is not None and (new.changed is None or new.changed < old.changed):
            return AuditedDecision("target", name, old.actor, None, before, after, outcome="put back")
        moved = after is not None and (old.target, old.unloaded) != (new.target, new.unloaded)
        kind: Action = "override" if moved and self._is_override(name, new.target) else "target"
        return AuditedDecision(kind, name, new.actor, new.reason, before, after)

    def _is_override(self, name: str, target: str) -> bool:
        if alias_of(target) is not None:
            return False
        production = self._production(name)
        return production is not None and production != target


def _wish(document: DesiredState, name: str) -> str | None:
    """What a model follows, and what is tried beside it; None where no version is wanted."""
    model = document.model(name)
    if model is None or model.unloaded:
        return None
    canary = model.canary
    return model.target if canary is None else f"{model.target}, {canary.version} for {canary.share:.4g}"
