"""Versions are loaded in the background; what comes of it is taken in by the reconciler's next turn."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress

from hotswap import memory
from hotswap.artifact import VersionSight
from hotswap.background import Background
from hotswap.closing import Closing
from hotswap.desired import Wish
from hotswap.facts import Facts
from hotswap.forwarding import Forwarding
from hotswap.generation import State
from hotswap.hooks import Observer
from hotswap.loading import Failed, Gate, Loaded, Outcome
from hotswap.plan import Want, may_publish
from hotswap.tags import ModelTag
from hotswap.telling import tell

logger = logging.getLogger("bentoml.okawari.hotswap")


class Bringing:
    """Called by the reconciler's thread, but for what the background does.

    `again` are those that may be tried once more if the try under way fails.
    """

    def __init__(
        self,
        facts: Facts,
        background: Background,
        gate: Gate,
        *,
        forwarding: Forwarding,
        closing: Closing,
        observer: Observer,
        wake: Callable[[], None],
    ) -> None:
        self._facts = facts
        self._background = background
        self._gate = gate
        self._forwarding = forwarding
        self._closing = closing
        self._observer = observer
        self._wake = wake
        self._outcomes: deque[tuple[ModelTag, VersionSight | None, Outcome]] = deque()
        self.again: set[ModelTag] = set()

    @property
    def idle(self) -> bool:
        """Whether nothing is being loaded or waits to be taken in."""
        return not self._facts.loading and not self._outcomes

    def load(self, tag: ModelTag) -> None:
        """Begin to load a version."""
        # What is seen now is what will be tried: files that change meanwhile deserve another try.
        seen = self._facts.sight(tag)
        self._facts.loading[tag] = State.LOADING
        self._background.submit(lambda: self._bring(tag, seen))

    def forgive(self, tag: ModelTag | None) -> None:
        """What failed (None: everything) may be tried now; what is being tried, once more if it fails."""
        backoff = self._facts.backoff
        backoff.forgive_all() if tag is None else backoff.forgive(tag)
        self.again.update(each for each in tuple(self._facts.loading) if tag in (None, each))

    def take_in(self, wants: Mapping[str, Want]) -> None:
        """Take in all that has come."""
        while self._outcomes:
            self._take_in(*self._outcomes.popleft(), wants)

    def _bring(self, tag: ModelTag, seen: VersionSight | None) -> None:
        def progress(state: State) -> None:
            self._facts.loading[tag] = state

        outcome = self._gate.bring(tag, progress)
        if isinstance(outcome, Failed) and outcome.digest is not None:
            memory.release()  # it was loaded, at least in part
        self._outcomes.append((tag, seen, outcome))
        self._wake()

    def _take_in(
        self, tag: ModelTag, seen: VersionSight | None, outcome: Outcome, wants: Mapping[str, Want]
    ) -> None:
        self._facts.loading.pop(tag, None)
        again = tag in self.again
        self.again.discard(tag)
        if isinstance(outcome, Failed):
            if again:
                logger.info("%s failed: %s; tried again at once, as asked", tag, outcome.reason)
            else:
                self._failed(outcome, seen)
        elif may_publish(tag.version, wants.get(tag.name), self._facts.actual(tag.name)):
            self._loaded(outcome)
        else:
            self._closing.unwanted(outcome.generation)

    def _failed(self, failed: Failed, seen: VersionSight | None) -> None:
        known = self._facts.backoff.failures.get(failed.tag)
        delay = self._facts.backoff.record(failed, seen)
        if not failed.settling:
            self._refused(failed, delay)
        elif known is None or known.reason != failed.reason:
            logger.info("%s is not settled: %s", failed.tag, failed.reason)

    def _refused(self, failed: Failed, delay: float) -> None:
        tag = failed.tag
        logger.warning("%s failed: %s; next try in %.0f s", tag, failed.reason, delay)
        wish = self._facts.document.models.get(tag.name) or Wish()
        with suppress(OSError):
            self._facts.commits.refuse(tag.name, tag.version, wish.revision, failed.reason)
        tell(self._observer.failed, tag, failed.reason, delay)

    def _loaded(self, loaded: Loaded) -> None:
        generation = loaded.generation
        self._facts.backoff.forgive(generation.tag)
        tell(self._observer.loaded, generation.tag, loaded.seconds)
        slot = self._facts.slot(generation.tag.name)
        if slot.prepared is not None:
            self._forwarding.withdraw(slot)
        if slot.prepared is not None:
            self._closing.drained(generation)  # the other cannot be given up now
            return
        slot.prepare(generation)
