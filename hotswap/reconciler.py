"""The reconciler: looks at store and desired state, plans, and acts, until what is wanted answers."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

from hotswap.backoff import Clock
from hotswap.coordination import Coordinator, LocalCoordinator
from hotswap.desired import DesiredModel, DesiredState, DesiredStore, record_serving
from hotswap.events import Observer, Swap, notify
from hotswap.gate import GUARD, Gate, Verdict
from hotswap.generation import keeps_none
from hotswap.guard import Guard, GuardTurns
from hotswap.lifecycle import GenerationCloser, LoadQueue, VersionLoader
from hotswap.observed import ObservedState
from hotswap.plan import Load, Unload, Want, plan, want
from hotswap.repository import Artifact, ModelRepository, resolve
from hotswap.resident_models import MemoryRules, ResidentModels
from hotswap.rollout import Rollout
from hotswap.runner import Loader
from hotswap.schedule import Schedule
from hotswap.slot import Publication, Slot
from hotswap.status import StateView
from hotswap.threads import Background
from manifest.profiles import Profiles, no_profiles
from manifest.tags import ModelTag
from residency.table import LocalTable, ResidencyTable

logger = logging.getLogger("bentoml.okawari.hotswap")

#: Seconds between two looks at what the other workers have prepared, while this one waits for them.
_OTHERS = 0.01
#: Seconds after which it is stored that an evicted version is back.
_SOON = 5.0


class Reconciler:
    """Drives the slots of one process towards the desired state, in step with the other workers.

    `step` and `wait` are called by one thread only; all slow work goes to `background`, whose outcomes the
    next step takes in. `view` is for everybody who asks, `schedule` for everybody who wants another look.
    """

    def __init__(
        self,
        repository: ModelRepository,
        desired: DesiredStore,
        loader: Loader,
        background: Background,
        *,
        observer: Observer | None = None,
        coordinator: Coordinator | None = None,
        gate: Gate | None = None,
        guard: Guard | None = None,
        patience: float = 30.0,
        table: ResidencyTable | None = None,
        memory: MemoryRules | None = None,
        clock: Clock = time.monotonic,
        profiles: Profiles = no_profiles,
    ) -> None:
        """Without `memory` rules every wanted version is loaded, whatever it takes."""
        observer, gate = observer or Observer(), gate or Gate()
        table = table or LocalTable()
        self.schedule = Schedule(table)
        nudge = self.schedule.nudge
        self.observed = ObservedState(
            repository,
            desired,
            coordinator or LocalCoordinator(),
            clock,
            nudge,
            table=table,
            keeps=guard.keeps if guard else keeps_none,
        )
        self.view = StateView(
            self.observed,
            self.schedule,
            profiles,
            workers=memory.workers if memory else 1,
            pinned=memory.policy.pinned if memory else (),
        )
        awaited = self.schedule.demanded
        closer = GenerationCloser(self.observed, background, observer, nudge, awaited)
        self._rollout = Rollout(self.observed, closer, patience, clock)
        self._queue = LoadQueue(
            self.observed,
            background,
            VersionLoader(repository, loader, closer.drained, gate=gate, borrow=self.observed.borrow_current),
            withdraw=self._rollout.withdraw,
            closer=closer,
            observer=observer,
            wake=nudge,
            awaited=awaited,
        )
        self._residents = ResidentModels(self.observed, self.schedule, self._rollout, memory, observer)
        self._guard = GuardTurns(guard, gate, self._rollout, nudge) if guard else None
        self._publications = PublicationLog(desired, observer, clock, gate.ruling)
        self._reasons: dict[str, str | None] = {}
        self._crop_troubles: dict[str, str | None] = {}
        #: Called after each turn that read anew or let another version answer.
        self.on_step: list[Callable[[], None]] = [self.view.changed]
        self._woken_early = False
        self._looked_at = self._interval = 0.0
        self._unread: str | None = None

    def wake(self) -> None:
        """Look again soon."""
        self.schedule.wake()

    def wait(self, timeout: float) -> None:
        """Sleep until woken or until the other workers have moved, at most `timeout` seconds."""
        until, self._interval, self._woken_early = time.monotonic() + timeout, timeout, False
        while (left := until - time.monotonic()) > 0:
            expecting, waiting = self._rollout.expecting(), self._residents.waiting
            woken = self.schedule.wait(min(left, _OTHERS) if expecting or waiting else left)
            if woken or waiting or any(map(self._rollout.has_moved, expecting)):
                self._woken_early = True
                break
        self.schedule.reset()

    def step(self) -> None:
        """One look, one plan, all its actions. Whatever goes wrong is logged, and tried again.

        Woken for what has changed in memory alone, it plans with what it read within the interval.
        """
        looking = self.schedule.begin(recent=self._is_recent())
        trouble = self._try_turn(looking=looking)
        if trouble is not None and trouble != self.observed.trouble:
            logger.error("cannot reach the desired state, retrying: %s", trouble)
        self.observed.trouble = trouble
        self.schedule.end()
        self._warn_of_crops()
        swapped, self._publications.swapped = self._publications.swapped, False
        for listener in tuple(self.on_step) if looking or swapped else (self.view.changed,):
            notify(listener)

    def _is_recent(self) -> bool:
        """Whether what was read last will do for this turn, too."""
        early, self._woken_early = self._woken_early, False
        is_well = self.observed.trouble is None
        return early and is_well and time.monotonic() < self._looked_at + self._interval

    def _try_turn(self, *, looking: bool) -> str | None:
        """Take a turn; what went wrong in it."""
        self._rollout.trouble = None
        try:
            unread = self._turn(looking=looking)
        except Exception as error:  # noqa: BLE001 - what serves goes on, and the next look is soon
            return f"{type(error).__name__}: {error}"
        return self._rollout.trouble or unread

    def _turn(self, *, looking: bool) -> str | None:
        """All of a step; what could not be read in it."""
        observed = self.observed
        for tag in self.schedule.take_retries():
            self._queue.forgive(tag)
        if looking:
            self._looked_at = time.monotonic()
            self._unread = observed.refresh()
        self._rollout.follow()
        observed.wants = wants = self._wants()
        self._queue.take_in(wants)
        for slot in observed.slots.values():
            self._rollout.advance(slot, wants.get(slot.name))
            if self._guard is not None:
                self._guard.turn(slot, looking=looking)
        if any(slot.publications for slot in observed.slots.values()):
            self.view.changed()  # requests wait for it: what else the turn does is nothing to them
        self._residents.turn(wants)
        actual = {name: observed.actual(name) for name in {*observed.slots, *wants}}
        for action in plan(wants.values(), actual):
            self._do(action)
        for slot in observed.slots.values():
            observed.desired = self._publications.record(slot, observed.desired)
        self._residents.report()
        return self._unread

    def _do(self, action: Load | Unload) -> None:
        if isinstance(action, Load):
            if not self._residents.may_load(action.name, action.version):
                return
            self._queue.load(ModelTag(action.name, action.version))
        else:
            self._rollout.unload(self.observed.slots[action.name])

    def _wants(self) -> dict[str, Want]:
        """What is wanted of every model that is wanted, by name."""
        observed = self.observed
        names = {*observed.models, *observed.slots, *observed.desired.models}
        for name in names.difference(observed.slots):
            if observed.coordinator.number(name):
                observed.slot(name)  # the others answer for it
        models = {name: observed.desired.model(name) for name in names}
        return {
            name: self._want(name, model)
            for name, model in sorted(models.items())
            if model is not None and not model.unloaded
        }

    def _want(self, name: str, model: DesiredModel) -> Want:
        observed = self.observed
        info = observed.models.get(name)
        version = observed.version_to_follow(name) or self._resolved(name, model.target)
        wanted = want(
            name,
            version,
            model.last_good if info is not None and model.last_good in info.versions else None,
            refused=version is not None and self._refused_elsewhere(name, version, model.revision),
        )
        decided = observed.unfollowed(name)
        if decided is not None and decided.version == version and decided.candidate is not None:
            return replace(wanted, candidate=decided.candidate, share=decided.share)
        canary = model.canary
        if canary is None or info is None or canary.version not in info.versions:
            return wanted
        return replace(wanted, candidate=canary.version, share=canary.share)

    def _resolved(self, name: str, target: str) -> str | None:
        """What a target means now; a reason for none is logged once."""
        found = resolve(target, self.observed.models.get(name))
        if found.reason != self._reasons.get(name) and name in self.observed.models:
            self._reasons[name] = found.reason
            if found.reason is not None:
                logger.warning("%s: %s; what serves now stays", name, found.reason)
        return found.version

    def _warn_of_crops(self) -> None:
        """Log once why a model cannot crop; a detector that is still on its way is no reason."""
        if not self.view.idle:
            return
        troubles = {name: self.view.crop_trouble(name) for name in self.observed.slots}
        for name, trouble in troubles.items():
            if trouble is not None and trouble != self._crop_troubles.get(name):
                logger.warning("%s: %s; requests are refused until a detector fits", name, trouble)
        self._crop_troubles = troubles

    def _refused_elsewhere(self, name: str, version: str, revision: int) -> bool:
        """Whether no version answers here and a living worker refuses this one."""
        slot = self.observed.slots.get(name)
        if slot is None or slot.current is not None:
            return False
        with suppress(OSError):
            return bool(self.observed.coordinator.refusals(name, version, revision))
        return False


class PublicationLog:
    """Stores what serves, logs it and notifies the observers, after each publication.

    Called by the reconciler's thread; the publications themselves may have been made by requests.
    """

    def __init__(
        self,
        store: DesiredStore,
        observer: Observer,
        clock: Clock = time.monotonic,
        ruling: Callable[[Artifact], Verdict | None] = lambda _: None,
    ) -> None:
        """`ruling` says why a version was taken back."""
        self._store = store
        self._ruling = ruling
        self._observer = observer
        self._clock = clock
        self._due: dict[str, float] = {}
        self._unwritten: dict[str, Publication] = {}
        self._trouble: str | None = None
        #: Set when another version has come to answer, or none.
        self.swapped = False

    def record(self, slot: Slot, desired: DesiredState) -> DesiredState:
        """Record every publication of a slot since the last call; return the desired state as it is then."""
        if not slot.publications:
            return self._store_serving(slot.name, desired)
        while slot.publications:
            publication = slot.publications[0]
            known = desired.models.get(slot.name) or DesiredModel()
            if publication.after is not None:
                self._unwritten[slot.name] = publication
                self._postpone(slot.name, publication, known)
            if len(slot.publications) == 1:
                desired = self._store_serving(slot.name, desired)
            self._notify(slot.name, publication, known)
            # Only now: until then the process is not idle.
            slot.publications.popleft()
        return desired

    def _store_serving(self, name: str, desired: DesiredState) -> DesiredState:
        """Store what serves, or try again at the next look: a state that can't be written stops no swap."""
        publication = self._unwritten.get(name)
        if publication is None or publication.after is None or self._clock() < self._due.get(name, 0.0):
            return desired
        tag, digest = publication.after.tag, publication.after.artifact.digest
        try:
            desired = self._store.edit(record_serving(name, tag.version, digest, publication.number))
        except Exception as error:  # noqa: BLE001 - see the promise above
            self._warn(f"cannot store that {tag} serves: {error}")
            return desired
        del self._unwritten[name]
        self._trouble = None
        return desired

    def _postpone(self, name: str, publication: Publication, model: DesiredModel) -> None:
        """Store soon, not at once, that a version is back: with many models that is often."""
        if not _is_back(publication, model):
            self._due.pop(name, None)
        elif name not in self._due or self._due[name] <= self._clock():
            self._due[name] = self._clock() + _SOON

    def _warn(self, trouble: str) -> None:
        """Once for each trouble, however often it is met again."""
        if trouble != self._trouble:
            self._trouble = trouble
            logger.warning("%s", trouble)

    def _notify(self, name: str, publication: Publication, model: DesiredModel) -> None:
        before, after = publication.before, publication.after
        if before is not None and publication.evicted:
            logger.info("%s has left memory", before.tag)
            return
        if _is_back(publication, model):
            logger.info("%s is back in memory, generation %d", after and after.tag, publication.number)
            return
        self.swapped = True
        answered = before.tag.version if before else model.last_good if publication.returned else None
        actor, reason = model.actor, model.reason
        if publication.taken_back and before is not None:
            verdict = self._ruling(before.artifact)
            said = verdict.reason if verdict else "see its verdict"
            actor, reason = GUARD, f"{before.tag} was taken back: {said}"
        swap = Swap(
            name=name,
            before=answered,
            after=after.tag.version if after else None,
            number=publication.number,
            digest=after.artifact.digest if after else None,
            actor=actor,
            reason=reason,
            pause_seconds=publication.pause_seconds,
            taken_back=publication.taken_back,
        )
        logger.info("%s: %s -> %s, generation %d", swap.name, swap.before, swap.after, swap.generation)
        notify(self._observer.published, swap)


def _is_back(publication: Publication, model: DesiredModel) -> bool:
    """Whether the version that was evicted answers again: nothing has been switched."""
    after = publication.after
    if after is None or not publication.returned:
        return False
    return (model.last_good, model.last_digest) == (after.tag.version, after.artifact.digest)
