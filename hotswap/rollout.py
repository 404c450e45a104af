"""What one worker does to have its prepared version answer everywhere: propose, decide, take in, remember."""

from __future__ import annotations

import logging

from hotswap.backoff import Clock
from hotswap.coordination import Coordinator, Decision, Quorum
from hotswap.desired import DesiredModel, DesiredState
from hotswap.generation import Generation
from hotswap.lifecycle import GenerationCloser
from hotswap.observed import ObservedState
from hotswap.plan import Want, may_publish
from hotswap.slot import Slot

logger = logging.getLogger("bentoml.okawari.hotswap")


class Agreement:
    """One worker's part in the agreement. Called by the reconciler's thread only.

    A worker that lives is waited for, at most `patience` seconds after this one is ready; one that says
    it cannot answer so is waited for until it can, or until the wish is another.
    """

    def __init__(self, commits: Coordinator, patience: float, clock: Clock) -> None:
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

    def advance(self, slot: Slot, document: DesiredState) -> bool:
        """Do the next thing for what is prepared; whether it answers now."""
        slot.catch_up()
        fresh = slot.prepared or (slot.current if slot.behind else None)
        if fresh is None:
            return False
        before = slot.number
        known = self._commits.number(slot.name)
        wanted = self._decision(slot, fresh, document)
        wish = document.models.get(slot.name) or DesiredModel()
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

    def unload(self, slot: Slot, document: DesiredState) -> None:
        """Let nobody answer."""
        self._settle(slot, Decision(self._next(slot, document)))

    def _settle(self, slot: Slot, wanted: Decision) -> None:
        decided = self._commits.decide(slot.name, wanted)
        if not decided.void:
            self._commits.reach(slot.name, decided.number)
        slot.catch_up()

    def _decision(self, slot: Slot, fresh: Generation, document: DesiredState) -> Decision:
        artifact = fresh.artifact
        wish = document.models.get(slot.name) or DesiredModel()
        again = (wish.last_good, wish.last_digest) == (artifact.tag.version, artifact.digest)
        number = self._next(slot, document, again=again)
        return Decision(number, artifact.tag.version, artifact.digest)

    def _next(self, slot: Slot, document: DesiredState, *, again: bool = False) -> int:
        """The first number that is not decided. What was decided and not reached, is reached.

        What answered when the service last ended keeps its number when it is the first to answer again.
        """
        wish = document.models.get(slot.name) or DesiredModel()
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


class Rollout:
    """One worker's steps in the agreement. Called by the reconciler's thread; `expecting` by any.

    One model's trouble must not stop the others: `trouble` tells of the last, until it is cleared.
    """

    def __init__(self, facts: ObservedState, agreeing: Agreement, closing: GenerationCloser) -> None:
        self._facts = facts
        self._agreeing = agreeing
        self._closing = closing
        self.trouble: str | None = None

    def forward(self, slot: Slot, want: Want | None) -> None:
        """Bring what is prepared to answer, or give it up."""
        prepared = slot.prepared
        if prepared is None:
            if slot.behind and self._serves_the_wish(slot):
                self._advance(slot)  # the others left it, and may come back
            return
        if may_publish(prepared.tag.version, want, self._facts.actual(slot.name)):
            self._advance(slot)
        else:
            self.withdraw(slot)

    def withdraw(self, slot: Slot) -> None:
        """Hold what is prepared no longer, if it can be given up now."""
        try:
            given_up = self._agreeing.withdraw(slot)
        except OSError as error:
            self._cannot(slot.name, error)
            return
        if given_up is not None:
            self._closing.unwanted(given_up)

    def unload(self, slot: Slot) -> None:
        """Let nobody answer, in any worker."""
        try:
            self._agreeing.unload(slot, self._facts.document)
        except OSError as error:
            self._cannot(slot.name, error)

    def expects(self, slot: Slot) -> bool:
        """Whether the other workers may be ready at any moment for what is prepared."""
        return self._agreeing.expects(slot)

    def expecting(self) -> list[Slot]:
        """The slots of which that is so."""
        return [slot for slot in self._facts.slots.values() if self.expects(slot)]

    def moved(self, slot: Slot) -> bool:
        """Whether a whole turn has something to do; the next number may be decided on the way."""
        try:
            # A refusal is told by the turn, too: somebody may wait for the outcome.
            return slot.catch_up() and (self._advance(slot) or not self.expects(slot))
        except Exception:  # noqa: BLE001 - the turn meets it again, and tells
            return True

    def _serves_the_wish(self, slot: Slot) -> bool:
        wish, current = self._facts.document.wish(slot.name), slot.current
        if wish is None or wish.unloaded or current is None:
            return False
        return current.tag.version == self._facts.meant(slot.name, wish.target)

    def _advance(self, slot: Slot) -> bool:
        try:
            return self._agreeing.advance(slot, self._facts.document)
        except OSError as error:
            self._cannot(slot.name, error)
            return False

    def _cannot(self, name: str, error: OSError) -> None:
        self.trouble = f"{name}: cannot agree with the other workers: {error}"
