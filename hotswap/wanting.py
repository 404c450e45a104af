"""What is wanted of each model now: by the wishes, by what the other workers decided and refuse."""

from __future__ import annotations

from contextlib import suppress

from hotswap.agreeing import Agreeing
from hotswap.desired import Desired, Wish
from hotswap.facts import Facts
from hotswap.plan import Want
from hotswap.tags import ModelTag


class Wanting:
    """The left side of a plan. Called by the reconciler's thread; `decided` by any."""

    def __init__(self, facts: Facts, agreeing: Agreeing) -> None:
        self._facts = facts
        self._agreeing = agreeing

    def wants(self) -> dict[str, Want]:
        """What is wanted of every model that is wanted, by name."""
        facts = self._facts
        names = {*facts.sights, *facts.slots, *facts.document.models}
        for name in names.difference(facts.slots):
            if facts.commits.number(name):
                facts.slot(name)  # the others answer for it
        wishes = {name: facts.document.wish(name) for name in names}
        return {
            name: self._want(name, wish)
            for name, wish in sorted(wishes.items())
            if wish is not None and not wish.unloaded
        }

    def decided(self, name: str) -> str | None:
        """The version that the others answer with and this process does not, unless it cannot be loaded."""
        slot = self._facts.slots.get(name)
        decided = self._agreeing.committed(slot) if slot is not None else None
        if decided is None or decided.version is None:
            return None
        tag = ModelTag(name, decided.version)
        cannot = self._facts.sight(tag) is None or self._facts.waiting(tag)
        return None if cannot else decided.version

    def cannot_follow(self, name: str) -> bool:
        """Whether what was decided cannot be loaded here, so that waiting for it does not help."""
        slot = self._facts.slots.get(name)
        return slot is not None and self._agreeing.committed(slot) is not None and self.decided(name) is None

    def forgive_changed(self, document: Desired) -> None:
        """What `document` wishes anew, maybe through another worker, may be tried at once."""
        facts = self._facts
        for tag in list(facts.backoff.failures):
            before, now = facts.document.models.get(tag.name), document.models.get(tag.name)
            if now is None or now.revision == (before.revision if before else 0):
                continue
            if tag.version == facts.meant(tag.name, now.target):
                facts.backoff.forgive(tag)

    def _want(self, name: str, wish: Wish) -> Want:
        sight = self._facts.sights.get(name)
        there = sight is not None and wish.last_good in sight.versions
        version = self.decided(name) or self._facts.meant(name, wish.target)
        if there and version is not None and self._refused_elsewhere(name, version, wish):
            version = wish.last_good
        return Want(name, version, wish.last_good if there else None)

    def _refused_elsewhere(self, name: str, version: str, wish: Wish) -> bool:
        """Whether a living worker refuses and nobody answers here: what served last is then better."""
        slot = self._facts.slots.get(name)
        if slot is None or slot.current is not None:
            return False
        with suppress(OSError):
            return bool(self._facts.commits.refusals(name, version, wish.revision))
        return False
