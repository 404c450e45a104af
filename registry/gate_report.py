"""What the gate has to say about one version, as command line and API show it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from hotswap.gate import GatePolicy, GateRecord, Result, Verdict
from manifest.tags import ModelTag

#: The name of the check for room in memory, which is asked anew at each look and so never written down.
MEMORY = "memory"
_PREFIX = f"check {MEMORY}: "


@dataclass(frozen=True, slots=True)
class GateReport:
    """The verdicts on one version. `result` is None where it was not judged.

    `served`: it has answered before, and is trusted. `refused` says why it may not answer.
    """

    tag: ModelTag
    digest: str | None
    served: bool = False
    policy: GatePolicy | None = None
    result: Result | None = None
    refused: str | None = None
    compared: str | None = None
    judged: datetime | None = None
    allowed: frozenset[str] = frozenset()
    verdicts: Mapping[str, Verdict] = field(default_factory=dict)

    @property
    def reason(self) -> str | None:
        """Why it is refused; else the first reason of the worst verdict; None where all is well."""
        if self.refused is not None or self.result in (None, Result.PASS):
            return self.refused
        worst = (
            f"check {name}: {each.reason}"
            for name, each in self.verdicts.items()
            if each.result is self.result
        )
        return next(worst, None)

    def document(self) -> dict[str, Any]:
        """The report as JSON takes it."""
        return {
            "model": self.tag.name,
            "version": self.tag.version,
            "digest": self.digest,
            "served": self.served,
            "policy": self.policy,
            "result": self.result,
            "refused": self.refused,
            "compared": self.compared,
            "judged": self.judged,
            "allowed": sorted(self.allowed),
            "verdicts": {
                name: {"result": each.result, "reason": each.reason, "numbers": dict(each.numbers)}
                for name, each in self.verdicts.items()
            },
        }


def report(
    tag: ModelTag,
    digest: str | None,
    record: GateRecord | None,
    *,
    served: bool = False,
    state_reason: str | None = None,
) -> GateReport:
    """The report on a version, out of what was written down and of why the service does not load it now.

    `state_reason` is that of the version's state; a lack of memory is known from there alone.
    """
    found = GateReport(tag, digest, served)
    if record is not None and record.judged is not None:
        found = GateReport(
            tag,
            digest,
            served,
            record.policy,
            record.result,
            record.refusal,
            record.compared,
            record.judged,
            record.allowed,
            record.verdicts,
        )
    if state_reason is None or not state_reason.startswith(_PREFIX):
        return found
    memory = Verdict(Result.FAIL, state_reason.removeprefix(_PREFIX))
    return GateReport(
        tag,
        digest,
        served,
        found.policy,
        Result.FAIL,
        found.refused or state_reason,
        found.compared,
        found.judged,
        found.allowed,
        {**found.verdicts, MEMORY: memory},
    )
