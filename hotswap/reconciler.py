"""Look, plan, act, again: the only one that changes what answers."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress

from hotswap import memory
from hotswap.agreeing import Agreeing
from hotswap.artifact import ModelSight, VersionSight
from hotswap.background import Background
from hotswap.backoff import Backoff, Clock
from hotswap.commits import Alone, Commits
from hotswap.desired import Desired, DesiredStore, Wish
from hotswap.generation import Generation, State
from hotswap.hooks import Hooks, NoHooks, NoObserver, Observer
from hotswap.loading import Failed, Gate, Loaded, Outcome
from hotswap.looking import Look, Looking
from hotswap.plan import Actual, Load, Unload, Want, may_publish, plan
from hotswap.runner import Loader
from hotswap.slot import Slot
from hotswap.source import Source, resolve
from hotswap.tags import ModelTag
from hotswap.telling import Teller, tell

logger = logging.getLogger("bentoml.okawari.hotswap")

#: Seconds between two looks at what the other workers have prepared, while this one waits for them.
_OTHERS = 0.01


class Reconciler:
    """Drives the slots of one process towards the desired state, in step with the other workers.

    `step` is called by one thread only; all slow work goes to `background`, whose outcomes the next
    step takes in. Everything else may be read from any thread.
    """

    def __init__(
        self,
        source: Source,
        desired: DesiredStore,
        loader: Loader,
        background: Background,
        *,
        hooks: Hooks | None = None,
        observer: Observer | None = None,
        commits: Commits | None = None,
        patience: float = 30.0,
        clock: Clock = time.monotonic,
    ) -> None:
        self._looking = Looking(source, desired)
        self._background = background
        self._observer = observer or NoObserver()
        self._teller = Teller(desired, self._observer, hooks or NoHooks())
        self.commits = commits or Alone()
        self._agreeing = Agreeing(self.commits, patience, clock)
        self._gate = Gate(source, loader, self._drained)
        self._outcomes: deque[tuple[ModelTag, VersionSight | None, Outcome]] = deque()
        self._wake = threading.Event()
        self._forgive: deque[ModelTag | None] = deque()
        self._again: set[ModelTag] = set()
        self.backoff = Backoff(clock)
        self.loading: dict[ModelTag, State] = {}
        self.slots: dict[str, Slot] = {}
        self.sights: Mapping[str, ModelSight] = {}
        self.document = Desired()
        self.store_away = False
        self.trouble: str | None = None
        self._trouble: str | None = None
        self.begun = 0
        self.steps = 0
        self.on_step: list[Callable[[], None]] = []

    # --- what others may ask for -------------------------------------------------------------

    def wake(self) -> None:
        """Look again soon; any number of calls between two looks is one."""
        self._wake.set()

    def retry(self, tag: ModelTag | None = None) -> int:
        """Look again now and try what failed (None: everything) without waiting.

        Return what `steps` will be when a look that began after this call, and forgave, has ended.
        """
        self._forgive.append(tag)
        needed = self.begun + 1
        self.wake()
        return needed

    def in_step(self, name: str) -> bool:
        """Whether this process answers for a model as all workers have decided."""
        slot = self.slots.get(name)
        return self.commits.number(name) == 0 if slot is None else slot.catch_up()

    def cannot_follow(self, name: str) -> bool:
        """Whether what was decided cannot be loaded here, so that waiting for it does not help."""
        slot = self.slots.get(name)
        return slot is not None and self._agreeing.committed(slot) is not None and self._decided(name) is None

    def wait(self, timeout: float) -> None:
        """Sleep until somebody wakes us or the other workers have moved, at most `timeout` seconds."""
        until = time.monotonic() + timeout
        while (left := until - time.monotonic()) > 0:
            others = self._expecting()
            if self._wake.wait(min(left, _OTHERS) if others else left) or any(map(self._moved, others)):
                break
        self._wake.clear()

    def _expecting(self) -> list[Slot]:
        """The slots whose prepared version the other workers may be ready for at any moment."""
        return [slot for slot in self.slots.values() if self._agreeing.expects(slot)]

    def _moved(self, slot: Slot) -> bool:
        """Whether a whole turn has something to do; the next number may be decided on the way."""
        try:
            # A refusal is told by the turn, too: somebody may wait for the outcome.
            return slot.catch_up() and (self._advance(slot) or not self._agreeing.expects(slot))
        except Exception:  # noqa: BLE001 - the turn meets it again, and tells
            return True

    @property
    def idle(self) -> bool:
        """Whether nothing is being loaded, waits for others or to be taken in, and no step is under way."""
        steps = self.steps
        slots = list(self.slots.values())
        quiet = not self.loading and not self._outcomes
        quiet = quiet and not any(self._agreeing.expects(slot) or slot.switches for slot in slots)
        # A step that is half done has taken an outcome in and not yet acted on it.
        return quiet and self.begun == steps

    # --- one turn ------------------------------------------------------------------------------

    def step(self) -> None:
        """One look, one plan, all its actions. Whatever goes wrong is logged, and tried again."""
        self.begun += 1
        self._trouble = None
        try:
            self._turn()
        except Exception as error:  # noqa: BLE001 - what serves goes on, and the next look is soon
            self._trouble = f"{type(error).__name__}: {error}"
        if self._trouble is not None and self._trouble != self.trouble:
            logger.error("cannot bring about the desired state, trying on: %s", self._trouble)
        self.trouble = self._trouble
        self.steps += 1
        for listener in tuple(self.on_step):
            tell(listener)

    def _turn(self) -> None:
        while self._forgive:
            self._forgiven(self._forgive.popleft())
        self._look()
        wants = self._wants()
        while self._outcomes:
            self._take_in(*self._outcomes.popleft(), wants)
        for slot in self.slots.values():
            self._forward(slot, wants.get(slot.name))
        for action in plan(wants.values(), {name: self._actual(name) for name in {*self.slots, *wants}}):
            self._do(action)
        for slot in self.slots.values():
            self.document = self._teller.tell(slot, self.document)

    def _forgiven(self, tag: ModelTag | None) -> None:
        """What failed may be tried now; what is being tried may be tried once more if it fails."""
        self.backoff.forgive_all() if tag is None else self.backoff.forgive(tag)
        self._again.update(each for each in tuple(self.loading) if tag in (None, each))

    def _look(self) -> None:
        seen = self._looking.look(Look(self.sights, self.document))
        self.store_away, self._trouble = seen.away, seen.trouble
        self.sights = seen.sights
        if not seen.away:
            self.backoff.keep(lambda tag: self._sight(tag) is not None)
        self._forgive_changed(seen.document)
        self.document = seen.document

    def _forgive_changed(self, document: Desired) -> None:
        """What is wished anew, maybe through another worker, is tried at once."""
        for tag in list(self.backoff.failures):
            before, now = self.document.models.get(tag.name), document.models.get(tag.name)
            if now is None or now.revision == (before.revision if before else 0):
                continue
            if tag.version == resolve(now.target, self.sights.get(tag.name)).version:
                self.backoff.forgive(tag)

    def _wants(self) -> dict[str, Want]:
        names = {*self.sights, *self.slots, *self.document.models}
        for name in names.difference(self.slots):
            if self.commits.number(name):
                self._slot(name)  # the others answer for it
        wishes = {name: self.document.wish(name) for name in names}
        return {
            name: self._want(name, wish)
            for name, wish in sorted(wishes.items())
            if wish is not None and not wish.unloaded
        }

    def _want(self, name: str, wish: Wish) -> Want:
        sight = self.sights.get(name)
        there = sight is not None and wish.last_good in sight.versions
        version = self._decided(name) or resolve(wish.target, sight).version
        if there and version is not None and self._refused_elsewhere(name, version, wish):
            version = wish.last_good
        return Want(name, version, wish.last_good if there else None)

    def _refused_elsewhere(self, name: str, version: str, wish: Wish) -> bool:
        """Whether a living worker refuses and nobody answers here: what served last is then better."""
        slot = self.slots.get(name)
        if slot is None or slot.current is not None:
            return False
        with suppress(OSError):
            return bool(self.commits.refusals(name, version, wish.revision))
        return False

    def _decided(self, name: str) -> str | None:
        """The version that the others answer with and this process does not, unless it cannot be loaded."""
        slot = self.slots.get(name)
        decided = self._agreeing.committed(slot) if slot is not None else None
        if decided is None or decided.version is None:
            return None
        tag = ModelTag(name, decided.version)
        return None if self._sight(tag) is None or self._waiting(tag) else decided.version

    def _actual(self, name: str) -> Actual:
        slot = self.slots.get(name)
        current = slot.current if slot else None
        prepared = slot.prepared if slot else None
        return Actual(
            serving=current.tag.version if current else None,
            prepared=prepared.tag.version if prepared else None,
            loading=frozenset(tag.version for tag in self.loading if tag.name == name),
            waiting=frozenset(
                tag.version for tag in self.backoff.failures if tag.name == name and self._waiting(tag)
            ),
        )

    def _waiting(self, tag: ModelTag) -> bool:
        return self.backoff.waiting(tag, self._sight(tag))

    def _slot(self, name: str) -> Slot:
        known = self.slots.get(name)
        if known is None:
            self.slots[name] = known = Slot(name, self.commits, self.wake)
        return known

    def _sight(self, tag: ModelTag) -> VersionSight | None:
        model = self.sights.get(tag.name)
        return model.versions.get(tag.version) if model else None

    # --- actions ---------------------------------------------------------------------------------

    def _do(self, action: Load | Unload) -> None:
        if isinstance(action, Unload):
            try:
                self._agreeing.unload(self.slots[action.name], self.document)
            except OSError as error:
                self._trouble = f"{action.name}: cannot agree with the other workers: {error}"
            return
        tag = ModelTag(action.name, action.version)
        # What is seen now is what will be tried: files that change meanwhile deserve another try.
        seen = self._sight(tag)
        self.loading[tag] = State.LOADING
        self._background.submit(lambda: self._bring(tag, seen))

    def _bring(self, tag: ModelTag, seen: VersionSight | None) -> None:
        def progress(state: State) -> None:
            self.loading[tag] = state

        outcome = self._gate.bring(tag, progress)
        if isinstance(outcome, Failed) and outcome.digest is not None:
            memory.release()  # it was loaded, at least in part
        self._outcomes.append((tag, seen, outcome))
        self.wake()

    def _take_in(
        self, tag: ModelTag, seen: VersionSight | None, outcome: Outcome, wants: Mapping[str, Want]
    ) -> None:
        self.loading.pop(tag, None)
        again = tag in self._again
        self._again.discard(tag)
        if isinstance(outcome, Failed):
            if again:
                logger.info("%s failed: %s; tried again at once, as asked", tag, outcome.reason)
            else:
                self._failed(outcome, seen)
        elif may_publish(tag.version, wants.get(tag.name), self._actual(tag.name)):
            self._loaded(outcome)
        else:
            logger.info("%s is no longer wanted; it is closed without having served", tag)
            self._drained(outcome.generation)

    def _failed(self, failed: Failed, seen: VersionSight | None) -> None:
        known = self.backoff.failures.get(failed.tag)
        delay = self.backoff.record(failed, seen)
        if failed.settling:
            if known is None or known.reason != failed.reason:
                logger.info("%s is not settled: %s", failed.tag, failed.reason)
            return
        logger.warning("%s failed: %s; next try in %.0f s", failed.tag, failed.reason, delay)
        wish = self.document.models.get(failed.tag.name) or Wish()
        with suppress(OSError):
            self.commits.refuse(failed.tag.name, failed.tag.version, wish.revision, failed.reason)
        tell(self._observer.failed, failed.tag, failed.reason, delay)

    def _loaded(self, loaded: Loaded) -> None:
        generation = loaded.generation
        self.backoff.forgive(generation.tag)
        tell(self._observer.loaded, generation.tag, loaded.seconds)
        slot = self._slot(generation.tag.name)
        if slot.prepared is not None:
            self._withdraw(slot)
        if slot.prepared is not None:
            self._drained(generation)  # the other cannot be given up now
            return
        slot.prepare(generation)

    # --- together with the other workers -----------------------------------------------------

    def _forward(self, slot: Slot, want: Want | None) -> None:
        """Bring what is prepared to answer, or give it up."""
        prepared = slot.prepared
        if prepared is None:
            if slot.behind and self._serves_the_wish(slot):
                self._advance(slot)  # the others left it, and may come back
            return
        if may_publish(prepared.tag.version, want, self._actual(slot.name)):
            self._advance(slot)
        else:
            self._withdraw(slot)

    def _serves_the_wish(self, slot: Slot) -> bool:
        wish, current = self.document.wish(slot.name), slot.current
        if wish is None or wish.unloaded or current is None:
            return False
        return current.tag.version == resolve(wish.target, self.sights.get(slot.name)).version

    def _advance(self, slot: Slot) -> bool:
        try:
            return self._agreeing.advance(slot, self.document)
        except OSError as error:  # one model's trouble must not stop the others
            self._trouble = f"{slot.name}: cannot agree with the other workers: {error}"
            return False

    def _withdraw(self, slot: Slot) -> None:
        try:
            given_up = self._agreeing.withdraw(slot)
        except OSError as error:
            self._trouble = f"{slot.name}: cannot agree with the other workers: {error}"
            return
        if given_up is not None:
            logger.info("%s is no longer wanted; it is closed without having served", given_up.tag)
            self._drained(given_up)

    # --- endings ---------------------------------------------------------------------------------

    def _drained(self, generation: Generation) -> None:
        self._background.submit(lambda: self._close(generation))

    def _close(self, generation: Generation) -> None:
        slot = self.slots.get(generation.tag.name)
        try:
            generation.close()
        except Exception:
            logger.exception("closing %s", generation.tag)
        memory.release()
        if slot is not None:
            slot.forget(generation)
        tell(self._observer.closed, generation.tag)
        self.wake()
