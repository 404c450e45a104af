"""What is wanted of each model now: by the wishes, by what the other workers decided and refuse."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress

from hotswap.backoff import Clock
from hotswap.coordination import Coordinator, LocalCoordinator
from hotswap.desired import DesiredModel, DesiredState, DesiredStore, record_serving
from hotswap.events import Hooks, NoHooks, NoObserver, Observer, Swap, notify
from hotswap.lifecycle import GenerationCloser, LoadQueue, VersionLoader
from hotswap.observed import ObservedState, Snapshot, SnapshotReader
from hotswap.plan import Load, Unload, Want, plan
from hotswap.repository import ModelInfo, ModelRepository
from hotswap.rollout import Agreement, Rollout
from hotswap.runner import Loader
from hotswap.slot import Publication, Slot
from hotswap.tags import ModelTag
from hotswap.threads import Background


class WantedVersions:
    """The left side of a plan. Called by the reconciler's thread; `decided` by any."""

    def __init__(self, facts: ObservedState, agreeing: Agreement) -> None:
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

    def forgive_changed(self, document: DesiredState) -> None:
        """What `document` wishes anew, maybe through another worker, may be tried at once."""
        facts = self._facts
        for tag in list(facts.backoff.failures):
            before, now = facts.document.models.get(tag.name), document.models.get(tag.name)
            if now is None or now.revision == (before.revision if before else 0):
                continue
            if tag.version == facts.meant(tag.name, now.target):
                facts.backoff.forgive(tag)

    def _want(self, name: str, wish: DesiredModel) -> Want:
        sight = self._facts.sights.get(name)
        there = sight is not None and wish.last_good in sight.versions
        version = self.decided(name) or self._facts.meant(name, wish.target)
        if there and version is not None and self._refused_elsewhere(name, version, wish):
            version = wish.last_good
        return Want(name, version, wish.last_good if there else None)

    def _refused_elsewhere(self, name: str, version: str, wish: DesiredModel) -> bool:
        """Whether a living worker refuses and nobody answers here: what served last is then better."""
        slot = self._facts.slots.get(name)
        if slot is None or slot.current is not None:
            return False
        with suppress(OSError):
            return bool(self._facts.commits.refusals(name, version, wish.revision))
        return False


class SwapReporter:
    """Called by the reconciler's thread; the switches themselves may have been made by requests."""

    def __init__(self, store: DesiredStore, observer: Observer, hooks: Hooks) -> None:
        self._store = store
        self._observer = observer
        self._hooks = hooks
        self._unwritten: dict[str, Publication] = {}
        self._trouble: str | None = None

    def tell(self, slot: Slot, document: DesiredState) -> DesiredState:
        """Tell of every switch of a slot since the last call; return the document as it is then."""
        if not slot.switches:
            return self._remember(slot.name, document)
        while slot.switches:
            switch = slot.switches[0]
            if switch.after is not None:
                self._unwritten[slot.name] = switch
            if len(slot.switches) == 1:
                document = self._remember(slot.name, document)
            self._tell(slot.name, switch, document.models.get(slot.name) or DesiredModel())
            # Only now: until then the process is not idle.
            slot.switches.popleft()
        return document

    def _remember(self, name: str, document: DesiredState) -> DesiredState:
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

    def _tell(self, name: str, switch: Publication, wish: DesiredModel) -> None:
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
        notify(self._observer.swapped, swap)
        notify(self._hooks.after_swap, swap)


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
        source: ModelRepository,
        desired: DesiredStore,
        loader: Loader,
        background: Background,
        *,
        hooks: Hooks | None = None,
        observer: Observer | None = None,
        commits: Coordinator | None = None,
        patience: float = 30.0,
        clock: Clock = time.monotonic,
    ) -> None:
        observer = observer or NoObserver()
        self.commits = commits or LocalCoordinator()
        self._facts = facts = ObservedState(self.commits, clock, self.wake)
        self.backoff, self.loading, self.slots = facts.backoff, facts.loading, facts.slots
        agreeing = Agreement(self.commits, patience, clock)
        closing = GenerationCloser(facts, background, observer, self.wake)
        gate = VersionLoader(source, loader, closing.drained)
        self._looking = SnapshotReader(source, desired)
        self._teller = SwapReporter(desired, observer, hooks or NoHooks())
        self._wanting = WantedVersions(facts, agreeing)
        self._forwarding = Rollout(facts, agreeing, closing)
        self._bringing = LoadQueue(
            facts,
            background,
            gate,
            withdraw=self._forwarding.withdraw,
            closing=closing,
            observer=observer,
            wake=self.wake,
        )
        self._wake = threading.Event()
        self._forgive: deque[ModelTag | None] = deque()
        self.store_away = False
        self.trouble: str | None = None
        self.begun = 0
        self.steps = 0
        self.on_step: list[Callable[[], None]] = []

    @property
    def sights(self) -> Mapping[str, ModelInfo]:
        """What the store showed last, by model."""
        return self._facts.sights

    @property
    def document(self) -> DesiredState:
        """What is wished, as it was read last."""
        return self._facts.document

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
        return self._wanting.cannot_follow(name)

    def wait(self, timeout: float) -> None:
        """Sleep until somebody wakes us or the other workers have moved, at most `timeout` seconds."""
        until = time.monotonic() + timeout
        while (left := until - time.monotonic()) > 0:
            others = self._forwarding.expecting()
            moved = self._forwarding.moved
            if self._wake.wait(min(left, _OTHERS) if others else left) or any(map(moved, others)):
                break
        self._wake.clear()

    @property
    def idle(self) -> bool:
        """Whether nothing is being loaded, waits for others or to be taken in, and no step is under way."""
        steps = self.steps
        slots = list(self.slots.values())
        quiet = self._bringing.idle
        quiet = quiet and not any(self._forwarding.expects(slot) or slot.switches for slot in slots)
        # A step that is half done has taken an outcome in and not yet acted on it.
        return quiet and self.begun == steps

    # --- one turn ------------------------------------------------------------------------------

    def step(self) -> None:
        """One look, one plan, all its actions. Whatever goes wrong is logged, and tried again."""
        self.begun += 1
        trouble = self._tried()
        if trouble is not None and trouble != self.trouble:
            logger.error("cannot bring about the desired state, trying on: %s", trouble)
        self.trouble = trouble
        self.steps += 1
        for listener in tuple(self.on_step):
            notify(listener)

    def _tried(self) -> str | None:
        """Take a turn; what went wrong in it."""
        self._forwarding.trouble = None
        try:
            blind = self._turn()
        except Exception as error:  # noqa: BLE001 - what serves goes on, and the next look is soon
            return f"{type(error).__name__}: {error}"
        return self._forwarding.trouble or blind

    def _turn(self) -> str | None:
        """Do all of a step; what could not be seen in it."""
        while self._forgive:
            self._bringing.forgive(self._forgive.popleft())
        blind = self._look()
        wants = self._wanting.wants()
        self._bringing.take_in(wants)
        for slot in self.slots.values():
            self._forwarding.forward(slot, wants.get(slot.name))
        actual = {name: self._facts.actual(name) for name in {*self.slots, *wants}}
        for action in plan(wants.values(), actual):
            self._do(action)
        for slot in self.slots.values():
            self._facts.document = self._teller.tell(slot, self._facts.document)
        return blind

    def _look(self) -> str | None:
        facts = self._facts
        seen = self._looking.look(Snapshot(facts.sights, facts.document))
        self.store_away, facts.sights = seen.away, seen.sights
        if not seen.away:
            facts.backoff.keep(lambda tag: facts.sight(tag) is not None)
        self._wanting.forgive_changed(seen.document)
        facts.document = seen.document
        return seen.trouble

    def _do(self, action: Load | Unload) -> None:
        if isinstance(action, Load):
            self._bringing.load(ModelTag(action.name, action.version))
        else:
            self._forwarding.unload(self.slots[action.name])
