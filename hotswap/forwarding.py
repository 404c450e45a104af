"""What is prepared comes to answer, together with the other workers, or is given up."""

from __future__ import annotations

from hotswap.agreeing import Agreeing
from hotswap.closing import Closing
from hotswap.facts import Facts
from hotswap.plan import Want, may_publish
from hotswap.slot import Slot


class Forwarding:
    """One worker's steps in the agreement. Called by the reconciler's thread; `expecting` by any.

    One model's trouble must not stop the others: `trouble` tells of the last, until it is cleared.
    """

    def __init__(self, facts: Facts, agreeing: Agreeing, closing: Closing) -> None:
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
