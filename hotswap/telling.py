"""After a switch: remember what serves, write it into the log, tell those who listen."""

from __future__ import annotations

import logging
from collections.abc import Callable

from hotswap.desired import Desired, DesiredStore, Wish, record_serving
from hotswap.hooks import Hooks, Observer, Swap
from hotswap.slot import Slot, Switch

logger = logging.getLogger("bentoml.okawari.hotswap")


def tell(listener: Callable[..., None], *facts: object) -> None:
    """Tell a listener. What it raises is logged and changes nothing."""
    try:
        listener(*facts)
    except Exception:
        logger.exception("%s", getattr(listener, "__qualname__", listener))


class Teller:
    """Called by the reconciler's thread; the switches themselves may have been made by requests."""

    def __init__(self, store: DesiredStore, observer: Observer, hooks: Hooks) -> None:
        self._store = store
        self._observer = observer
        self._hooks = hooks
        self._unwritten: dict[str, Switch] = {}
        self._trouble: str | None = None

    def tell(self, slot: Slot, document: Desired) -> Desired:
        """Tell of every switch of a slot since the last call; return the document as it is then."""
        if not slot.switches:
            return self._remember(slot.name, document)
        while slot.switches:
            switch = slot.switches[0]
            if switch.after is not None:
                self._unwritten[slot.name] = switch
            if len(slot.switches) == 1:
                document = self._remember(slot.name, document)
            self._tell(slot.name, switch, document.models.get(slot.name) or Wish())
            # Only now: until then the process is not idle.
            slot.switches.popleft()
        return document

    def _remember(self, name: str, document: Desired) -> Desired:
        """Store what serves, or try again at the next look: a state that can't be written stops no swap."""
        switch = self._unwritten.get(name)
        if switch is None or switch.after is None:
            return document
        tag, digest = switch.after.tag, switch.after.artifact.digest
        try:
            document = self._store.edit(record_serving(name, tag.version, digest, switch.number))
        except Exception as error:  # noqa: BLE001 - see the promise above
            self._warn(f"cannot remember that {tag} serves: {error}")
            return document
        del self._unwritten[name]
        self._trouble = None
        return document

    def _warn(self, trouble: str) -> None:
        """Once for each trouble, however often it is met again."""
        if trouble != self._trouble:
            self._trouble = trouble
            logger.warning("%s", trouble)

    def _tell(self, name: str, switch: Switch, wish: Wish) -> None:
        before, after = switch.before, switch.after
        swap = Swap(
            name=name,
            before=before.tag.version if before else None,
            after=after.tag.version if after else None,
            generation=switch.number if after else 0,
            digest=after.artifact.digest if after else None,
            actor=wish.actor,
            reason=wish.reason,
            pause_seconds=switch.pause_seconds,
        )
        logger.info("%s: %s -> %s, generation %d", swap.name, swap.before, swap.after, swap.generation)
        tell(self._observer.swapped, swap)
        tell(self._hooks.after_swap, swap)
