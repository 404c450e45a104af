"""One worker's side of a rollout: what is prepared comes to answer in all workers at once, or is given up."""

from __future__ import annotations

import logging
from dataclasses import replace

from hotswap.backoff import Clock
from hotswap.coordination import Decision, Quorum
from hotswap.generation import Generation
from hotswap.lifecycle import GenerationCloser
from hotswap.observed import ObservedState
from hotswap.plan import Want, may_publish
from hotswap.slot import Slot

logger = logging.getLogger("bentoml.okawari.hotswap")


class Rollout:
    """Proposes, decides and reaches decisions; it and the fence in `Slot.lease` alone let a slot publish.

    Called by the reconciler's thread. A worker that lives is waited for, at most `timeout` seconds after
    this one is ready; one that refuses is waited for until it can, or until another version is desired.
    One model's trouble must not stop the others: `trouble` is the last one, until it is cleared.
    """

    def __init__(
        self, observed: ObservedState, closer: GenerationCloser, timeout: float, clock: Clock
    ) -> None:
        self._observed = observed
        self._coordinator = observed.coordinator
        self._closer = closer
        self._timeout = timeout
        self._clock = clock
        self._ready_since: dict[str, tuple[Generation, float]] = {}
        self._proposed: dict[str, Decision] = {}
        self.trouble: str | None = None

    def follow(self) -> None:
        """Take in what the workers have decided, wherever its version is loaded here."""
        for slot in self._observed.slots.values():
            slot.catch_up()

    def advance(self, slot: Slot, want: Want | None) -> None:
        """Bring what is prepared to answer, or give it up."""
        try:
            if slot.set_aside():
                return
            waited_in_vain = slot.take_aside()
        except OSError as error:
            self._cannot_agree(slot.name, error)
            return
        if waited_in_vain is not None:
            self._closer.unwanted(waited_in_vain)
        prepared = slot.prepared
        if prepared is None:
            if slot.behind and self._serves_the_target(slot):
                self._advance(slot, want)  # the others left it, and may come back
            else:
                self._regroup(slot, want)
            return
        if may_publish(prepared.tag.version, want, self._observed.actual(slot.name)):
            self._advance(slot, want)
        else:
            self.withdraw(slot)

    def _regroup(self, slot: Slot, want: Want | None) -> None:
        """Let those that answer do it as is wanted: the candidate alone, the target alone, other shares.

        All workers have them already: none is waited for.
        """
        current, candidate = slot.current, slot.candidate
        if want is None or current is None or candidate is None or slot.behind:
            return
        if want.version == candidate.tag.version:
            wanted = _alone(candidate)
        elif want.version != current.tag.version:
            return  # another version is on its way
        elif want.candidate != candidate.tag.version:
            wanted = _alone(current)
        elif want.share != slot.share:
            wanted = _beside(current, candidate, want.share)
        else:
            return
        self._decide_now(slot, wanted)

    def end_canary(self, slot: Slot) -> None:
        """Let the target answer alone, in all workers, at once."""
        if slot.current is not None and slot.candidate is not None and not slot.behind:
            self._decide_now(slot, _alone(slot.current))

    def _decide_now(self, slot: Slot, wanted: Decision) -> None:
        try:
            self._decide_next(slot, replace(wanted, number=slot.number))
        except OSError as error:
            self._cannot_agree(slot.name, error)

    def withdraw(self, slot: Slot) -> None:
        """Give up what is prepared, if that is possible now."""
        try:
            given_up = self._withdraw(slot)
        except OSError as error:
            self._cannot_agree(slot.name, error)
            return
        if given_up is not None:
            self._closer.unwanted(given_up)

    def unload(self, slot: Slot) -> None:
        """Let no version answer, in any worker."""
        try:
            self._settle(slot, Decision(self._next_number(slot)))
        except OSError as error:
            self._cannot_agree(slot.name, error)

    def evict(self, slot: Slot, version: str) -> None:
        """Let no version answer, in any worker, if that version does; it is brought back when asked for."""
        try:
            self._evict(slot, version)
        except OSError as error:
            self._cannot_agree(slot.name, error)

    def _evict(self, slot: Slot, version: str) -> None:
        slot.catch_up()
        current = slot.current
        if current is not None and current.tag.version == version and not slot.behind:
            self._decide_next(slot, Decision(slot.number, evicted=True))

    def take_back(self, slot: Slot) -> None:
        """Let what is kept answer again, in all workers, at once: each has it, or loads it."""
        try:
            slot.catch_up()
            if slot.kept is not None and not slot.behind:
                self._decide_next(slot, replace(_alone(slot.kept), number=slot.number))
        except OSError as error:
            self._cannot_agree(slot.name, error)

    def _decide_next(self, slot: Slot, wanted: Decision) -> None:
        """Under the next number, and no later one: what was decided meanwhile wins."""
        number, decided = wanted.number, Decision(wanted.number, void=True)
        while decided.void:
            number += 1
            decided = self._coordinator.decide(slot.name, replace(wanted, number=number))
        self._coordinator.reach(slot.name, number)
        slot.catch_up()

    def expecting(self) -> list[Slot]:
        """The slots whose prepared version the other workers may be ready for at any moment."""
        refusals = self._observed.refusals
        slots = self._observed.slots.values()
        return [slot for slot in slots if slot.prepared is not None and slot.name not in refusals]

    def has_moved(self, slot: Slot) -> bool:
        """Take the next step for a slot that expects the others; whether a whole turn has something to do."""
        try:
            # A refusal is for the turn, too: somebody may wait for the outcome.
            want = self._observed.wants.get(slot.name)
            return slot.catch_up() and (self._advance(slot, want) or slot not in self.expecting())
        except Exception:  # noqa: BLE001 - the turn meets it again, and logs it
            return True

    def _serves_the_target(self, slot: Slot) -> bool:
        model, current = self._observed.desired.model(slot.name), slot.current
        if model is None or model.unloaded or current is None:
            return False
        return current.tag.version == self._observed.resolved(slot.name, model.target)

    def _advance(self, slot: Slot, want: Want | None) -> bool:
        try:
            return self._propose(slot, want)
        except OSError as error:
            self._cannot_agree(slot.name, error)
            return False

    def _cannot_agree(self, name: str, error: OSError) -> None:
        self.trouble = f"{name}: cannot agree with the other workers: {error}"

    # --- the agreement -------------------------------------------------------------------------

    def _propose(self, slot: Slot, want: Want | None) -> bool:
        """Do the next thing for what is prepared; whether it answers now."""
        slot.catch_up()
        fresh = slot.prepared or (slot.current if slot.behind else None)
        if fresh is None:
            return False
        before = slot.number
        known = self._coordinator.number(slot.name)
        wanted = self._decision_for(slot, fresh, want)
        if self._coordinator.number(slot.name) > known or slot.number > before:
            return slot.number > before  # found decided while its number was looked for
        self._proposed[slot.name] = wanted
        self._coordinator.propose(slot.name, wanted)
        revision = self._observed.desired_model(slot.name).revision
        if not self._agreed(slot, fresh, self._coordinator.quorum(slot.name, wanted, revision)):
            return False
        self._settle(slot, wanted)
        return slot.number > before

    def _withdraw(self, slot: Slot) -> Generation | None:
        """Hold what is prepared no longer; return it unless it has come to answer.

        The number it was proposed for is made void first: no worker can decide for it then, counting on
        this one.
        """
        fresh = slot.prepared
        proposed = self._proposed.get(slot.name)
        if proposed is not None and proposed.number > self._coordinator.number(slot.name):
            self._settle(slot, Decision(proposed.number, void=True))
        self._proposed.pop(slot.name, None)
        self._observed.refusals.pop(slot.name, None)
        return fresh if fresh is not None and slot.drop(fresh) else None

    def _settle(self, slot: Slot, wanted: Decision) -> None:
        decided = self._coordinator.decide(slot.name, wanted)
        if not decided.void:
            self._coordinator.reach(slot.name, decided.number)
        slot.catch_up()

    def _decision_for(self, slot: Slot, fresh: Generation, want: Want | None) -> Decision:
        current, version = slot.current, fresh.tag.version
        is_candidate = want is not None and version == want.candidate and version != want.version
        if want is not None and is_candidate and current is not None and current.tag.version == want.version:
            return replace(_beside(current, fresh, want.share), number=self._next_number(slot))
        artifact, model = fresh.artifact, self._observed.desired_model(slot.name)
        again = (model.last_good, model.last_digest) == (artifact.tag.version, artifact.digest)
        number = self._next_number(slot, again=again)
        return Decision(number, artifact.tag.version, artifact.digest)

    def _next_number(self, slot: Slot, *, again: bool = False) -> int:
        """The first number that is not decided. What was decided and not reached, is reached.

        What answered when the service last ended keeps its number when it is the first to answer again.
        """
        generation = self._observed.desired_model(slot.name).generation
        known = self._coordinator.number(slot.name)
        number = generation if again and not known else max(known, generation) + 1
        number = max(number, 1)
        while (decided := self._coordinator.decision(slot.name, number)) is not None:
            if not decided.void:
                self._coordinator.reach(slot.name, number)
                slot.catch_up()
            number += 1
        return number

    def _agreed(self, slot: Slot, fresh: Generation, quorum: Quorum) -> bool:
        known = self._ready_since.get(slot.name)
        if known is None or known[0] is not fresh:
            self._ready_since[slot.name] = known = (fresh, self._clock())
        refused = self._observed.refusals.pop(slot.name, ())
        if not quorum.missing:
            return True
        if quorum.refusals:
            # The timeout is for a worker that says nothing: it begins anew after a refusal.
            self._ready_since.pop(slot.name, None)
            self._observed.refusals[slot.name] = quorum.refusals
            if quorum.refusals != refused:
                logger.warning("%s waits, another worker refuses: %s", fresh.tag, "; ".join(quorum.refusals))
            return False
        waited = self._clock() - known[1]
        if waited >= self._timeout:
            logger.warning("%s: workers %s are waited for no longer", fresh.tag, quorum.missing)
        return waited >= self._timeout


def _alone(generation: Generation) -> Decision:
    """A decision, still without its number."""
    artifact = generation.artifact
    return Decision(0, artifact.tag.version, artifact.digest)


def _beside(target: Generation, candidate: Generation, share: float) -> Decision:
    artifact = candidate.artifact
    return replace(
        _alone(target), candidate=artifact.tag.version, candidate_digest=artifact.digest, share=share
    )
