"""The agreement of the workers of one service: for each model, numbered decisions of who answers.

A decision is made once, by the first worker, and never changed. The highest number that anybody has
reached is one word in shared memory: the moment it grows, every request that begins in any worker finds
that what it has borrowed is out of date, and takes the version that was decided. So all workers switch
at one point in time, without one that leads and without waiting for each other.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Decision:
    """What a number stands for. `version` None: no version answers; `void`: nothing changes.

    `evicted`: no version answers because it left memory; it comes back when it is asked for.
    `digest` is that of the files which were checked before it was proposed; it takes part in the
    comparison of proposals, and of what was decided its end is remembered. `candidate` answers a `share` of
    the requests beside `version`, 0..1 exclusively.
    """

    number: int
    version: str | None = None
    digest: str | None = None
    void: bool = False
    evicted: bool = False
    candidate: str | None = None
    candidate_digest: str | None = None
    share: float = 0.0


@dataclass(frozen=True, slots=True)
class Quorum:
    """Who is not ready yet, and why who refuses does, by seat. Stopped workers do not count."""

    missing: tuple[int, ...] = ()
    refusals: tuple[str, ...] = ()


class Coordinator(Protocol):
    """Shared by the workers of one service; each has its own view of it. Names are valid model names.

    Everything but `number` may raise OSError; then nothing was decided.
    """

    def number(self, name: str) -> int:
        """The highest number that anybody has reached; 0 before the first. Asked at every request."""
        ...

    def decision(self, name: str, number: int) -> Decision | None:
        """What was decided under that number; None when nothing was."""
        ...

    def decide(self, name: str, wanted: Decision) -> Decision:
        """Make `wanted` what its number stands for, unless that is decided; return what it is then."""
        ...

    def reach(self, name: str, number: int) -> None:
        """From now on everybody answers as decided under `number`, or a higher one."""
        ...

    def propose(self, name: str, wanted: Decision) -> None:
        """Say that this worker could answer so at once, and takes back what it refused."""
        ...

    def refuse(self, name: str, version: str, revision: int, reason: str) -> None:
        """Say that this worker cannot answer with that version, desired since `revision`."""
        ...

    def quorum(self, name: str, wanted: Decision, revision: int) -> Quorum:
        """Who of the living workers does not propose the same."""
        ...

    def refusals(self, name: str, version: str, revision: int) -> tuple[str, ...]:
        """Why living workers refuse a version that is desired since `revision`."""
        ...


@dataclass(slots=True)
class Ledger:
    """Decisions of one model, kept in memory."""

    number: int = 0
    decisions: dict[int, Decision] = field(default_factory=dict)


class LocalCoordinator:
    """The agreement of a single worker with itself, in memory."""

    def __init__(self) -> None:
        self._ledgers: dict[str, Ledger] = {}
        self._lock = threading.Lock()

    def number(self, name: str) -> int:
        """See `Coordinator`."""
        ledger = self._ledgers.get(name)
        return ledger.number if ledger is not None else 0

    def decision(self, name: str, number: int) -> Decision | None:
        """See `Coordinator`."""
        ledger = self._ledgers.get(name)
        return ledger.decisions.get(number) if ledger is not None else None

    def decide(self, name: str, wanted: Decision) -> Decision:
        """See `Coordinator`."""
        with self._lock:
            decisions = self._ledgers.setdefault(name, Ledger()).decisions
            if wanted.number - 16 < self._ledgers[name].number:
                decisions.pop(wanted.number - 16, None)
            return decisions.setdefault(wanted.number, wanted)

    def reach(self, name: str, number: int) -> None:
        """See `Coordinator`."""
        with self._lock:
            ledger = self._ledgers.setdefault(name, Ledger())
            ledger.number = max(ledger.number, number)

    def propose(self, name: str, wanted: Decision) -> None:
        """Do nothing: there are no other workers."""

    def refuse(self, name: str, version: str, revision: int, reason: str) -> None:
        """Do nothing: there are no other workers."""

    def quorum(self, name: str, wanted: Decision, revision: int) -> Quorum:  # noqa: ARG002
        """No other worker is missing."""
        return Quorum()

    def refusals(self, name: str, version: str, revision: int) -> tuple[str, ...]:  # noqa: ARG002
        """No other worker refuses."""
        return ()
