"""Look, plan, act, again: the only one that changes what answers."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping

from hotswap.agreeing import Agreeing
from hotswap.artifact import ModelSight
from hotswap.background import Background
from hotswap.backoff import Clock
from hotswap.bringing import Bringing
from hotswap.closing import Closing
from hotswap.commits import Alone, Commits
from hotswap.desired import Desired, DesiredStore
from hotswap.facts import Facts
from hotswap.forwarding import Forwarding
from hotswap.hooks import Hooks, NoHooks, NoObserver, Observer
from hotswap.loading import Gate
from hotswap.looking import Look, Looking
from hotswap.plan import Load, Unload, plan
from hotswap.runner import Loader
from hotswap.source import Source
from hotswap.tags import ModelTag
from hotswap.telling import Teller, tell
from hotswap.wanting import Wanting

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
        observer = observer or NoObserver()
        self.commits = commits or Alone()
        self._facts = facts = Facts(self.commits, clock, self.wake)
        self.backoff, self.loading, self.slots = facts.backoff, facts.loading, facts.slots
        agreeing = Agreeing(self.commits, patience, clock)
        closing = Closing(facts, background, observer, self.wake)
        gate = Gate(source, loader, closing.drained)
        self._looking = Looking(source, desired)
        self._teller = Teller(desired, observer, hooks or NoHooks())
        self._wanting = Wanting(facts, agreeing)
        self._forwarding = Forwarding(facts, agreeing, closing)
        self._bringing = Bringing(
            facts,
            background,
            gate,
            forwarding=self._forwarding,
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
    def sights(self) -> Mapping[str, ModelSight]:
        """What the store showed last, by model."""
        return self._facts.sights

    @property
    def document(self) -> Desired:
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
            tell(listener)

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
        seen = self._looking.look(Look(facts.sights, facts.document))
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
