"""What one worker does to have its prepared version answer everywhere: propose, decide, take in, remember."""

from __future__ import annotations

import logging

from hotswap.backoff import Clock
from hotswap.commits import Commits, Decision, Quorum
from hotswap.desired import Desired, Wish
from hotswap.generation import Generation
from hotswap.slot import Slot

logger = logging.getLogger("bentoml.okawari.hotswap")


class Agreeing:
    """One worker's part in the agreement. Called by the reconciler's thread only.

    A worker that lives is waited for, at most `patience` seconds after this one is ready; one that says
    it cannot answer so is waited for until it can, or until the wish is another.
    """

    def __init__(self, commits: Commits, patience: float, clock: Clock) -> None:
        self._commits = commits
        self._patience = patience
        self._clock = clock
        self._since: dict[str, tuple[Generation, float]] = {}
        self._proposed: dict[str, Decision] = {}
        self._refused: dict[str, tuple[str, ...]] = {}

    def committed(self, slot: Slot) -> Decision | None:
        """The decision that this process has still to take in; None when it has."""
        if slot.catch_up():
            return None
        return self._commits.decision(slot.name, self._commits.number(slot.name))

    def expects(self, slot: Slot) -> bool:
        """Whether something is prepared for which the others may be ready any moment; none refuses it."""
        return slot.prepared is not None and slot.name not in self._refused

    def advance(self, slot: Slot, document: Desired) -> bool:
        """Do the next thing for what is prepared; whether it answers now."""
        slot.catch_up()
        fresh = slot.prepared or (slot.current if slot.behind else None)
        if fresh is None:
            return False
        before = slot.number
        known = self._commits.number(slot.name)
        wanted = self._decision(slot, fresh, document)
        wish = document.models.get(slot.name) or Wish()
        if self._commits.number(slot.name) > known or slot.number > before:
            return slot.number > before  # found decided while its number was looked for
        self._proposed[slot.name] = wanted
        self._commits.propose(slot.name, wanted)
        quorum = self._commits.quorum(slot.name, wanted, wish.revision)
        if not self._agreed(slot, fresh, quorum):
            return False
        self._settle(slot, wanted)
        return slot.number > before

    def withdraw(self, slot: Slot) -> Generation | None:
        """Hold what is prepared no longer; return it unless it has come to answer.

        The number it was proposed for is made void first: nobody can decide for it then, counting on
        this worker.
        """
        fresh = slot.prepared
        proposed = self._proposed.get(slot.name)
        if proposed is not None and proposed.number > self._commits.number(slot.name):
            self._settle(slot, Decision(proposed.number, void=True))
        self._proposed.pop(slot.name, None)
        self._refused.pop(slot.name, None)
        return fresh if fresh is not None and slot.drop(fresh) else None

    def unload(self, slot: Slot, document: Desired) -> None:
        """Let nobody answer."""
        self._settle(slot, Decision(self._next(slot, document)))

    def _settle(self, slot: Slot, wanted: Decision) -> None:
        decided = self._commits.decide(slot.name, wanted)
        if not decided.void:
            self._commits.reach(slot.name, decided.number)
        slot.catch_up()

    def _decision(self, slot: Slot, fresh: Generation, document: Desired) -> Decision:
        artifact = fresh.artifact
        wish = document.models.get(slot.name) or Wish()
        again = (wish.last_good, wish.last_digest) == (artifact.tag.version, artifact.digest)
        number = self._next(slot, document, again=again)
        return Decision(number, artifact.tag.version, artifact.digest)

    def _next(self, slot: Slot, document: Desired, *, again: bool = False) -> int:
        """The first number that is not decided. What was decided and not reached, is reached.

        What answered when the service last ended keeps its number when it is the first to answer again.
        """
        wish = document.models.get(slot.name) or Wish()
        known = self._commits.number(slot.name)
        number = wish.generation if again and not known else max(known, wish.generation) + 1
        number = max(number, 1)
        while (decided := self._commits.decision(slot.name, number)) is not None:
            if not decided.void:
                self._commits.reach(slot.name, number)
                slot.catch_up()
            number += 1
        return number

    def _agreed(self, slot: Slot, fresh: Generation, quorum: Quorum) -> bool:
        known = self._since.get(slot.name)
        if known is None or known[0] is not fresh:
            self._since[slot.name] = known = (fresh, self._clock())
        refused = self._refused.pop(slot.name, ())
        if not quorum.missing:
            return True
        if quorum.refusals:
            self._since.pop(slot.name, None)  # patience is for who says nothing: it begins anew after a no
            self._refused[slot.name] = quorum.refusals
            if quorum.refusals != refused:
                logger.warning("%s waits, another worker refuses: %s", fresh.tag, "; ".join(quorum.refusals))
            return False
        waited = self._clock() - known[1]
        if waited >= self._patience:
            logger.warning("%s: workers %s are waited for no longer", fresh.tag, quorum.missing)
        return waited >= self._patience
