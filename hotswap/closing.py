"""The end of a generation: nobody uses it any more; it is closed in the background, its memory given back."""

from __future__ import annotations

import logging
from collections.abc import Callable

from hotswap import memory
from hotswap.background import Background
from hotswap.facts import Facts
from hotswap.generation import Generation
from hotswap.hooks import Observer
from hotswap.telling import tell

logger = logging.getLogger("bentoml.okawari.hotswap")


class Closing:
    """Closes generations, whoever gave them back last."""

    def __init__(
        self, facts: Facts, background: Background, observer: Observer, wake: Callable[[], None]
    ) -> None:
        self._facts = facts
        self._background = background
        self._observer = observer
        self._wake = wake

    def drained(self, generation: Generation) -> None:
        """Close it soon. May be called by any thread."""
        self._background.submit(lambda: self._close(generation))

    def unwanted(self, generation: Generation) -> None:
        """The same for one that never answered."""
        logger.info("%s is no longer wanted; it is closed without having served", generation.tag)
        self.drained(generation)

    def _close(self, generation: Generation) -> None:
        slot = self._facts.slots.get(generation.tag.name)
        try:
            generation.close()
        except Exception:
            logger.exception("closing %s", generation.tag)
        memory.release()
        if slot is not None:
            slot.forget(generation)
        tell(self._observer.closed, generation.tag)
        self._wake()
