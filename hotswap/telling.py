"""After a switch: remember what serves, write it into the log, tell those who listen."""

from __future__ import annotations

import logging
from collections.abc import Callable

from hotswap.desired import Desired, DesiredStore, Wish, record_serving
from hotswap.generation import Generation
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

    def tell(self, slot: Slot, document: Desired) -> Desired:
        """Tell of every switch of a slot since the last call; return the document as it is then."""
        while slot.switches:
            switch = slot.switches[0]
            if switch.after is not None:
                document = self._remember(switch.after, switch.number, document)
            self._tell(slot.name, switch, document.models.get(slot.name) or Wish())
            # Only now: until then the process is not idle.
            slot.switches.popleft()
        return document

    def _remember(self, serving: Generation, number: int, document: Desired) -> Desired:
        """Store what serves. A state that can't be written must not stop a swap."""
        tag, digest = serving.tag, serving.artifact.digest
        try:
            return self._store.edit(record_serving(tag.name, tag.version, digest, number))
        except Exception as error:  # noqa: BLE001 - see the promise above
            logger.warning("cannot remember that %s serves: %s", tag, error)
            return document

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
