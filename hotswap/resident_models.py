"""One worker's side of residency: lets versions into memory, and lets others leave it for them."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace

from hotswap.events import Observer, notify
from hotswap.observed import MemoryRefusal, ObservedState
from hotswap.plan import Want, next_version
from hotswap.repository import VersionInfo
from hotswap.rollout import Rollout
from hotswap.schedule import Schedule
from manifest.tags import ModelTag
from residency.planner import (
    Footprint,
    LoadCandidate,
    Memory,
    Planner,
    Policy,
    Resident,
    ResidentSet,
    freed,
)

logger = logging.getLogger("bentoml.okawari.hotswap")

#: What a version takes in memory, by its tag and what the store says of it.
FootprintOf = Callable[[ModelTag, VersionInfo | None], Footprint]


def no_models() -> Collection[str]:
    """No model comes before the others at the start."""
    return ()


@dataclass(frozen=True, slots=True)
class MemoryRules:
    """How the memory is shared out. `budget` is in bytes, for all `workers` together.

    `first` are the models that come into memory before the others at the start.
    """

    budget: int
    footprint: FootprintOf
    workers: int = 1
    policy: Policy = field(default_factory=Policy)
    first: Callable[[], Collection[str]] = no_models


def _nothing(_tag: ModelTag, _info: VersionInfo | None) -> Footprint:
    return Footprint(0, 0, 0)


class ResidentModels:
    """Called by the reconciler's thread. Without rules every version may be loaded.

    What it decides holds for all workers: each loads what the table allows, and frees what is to leave.
    """

    def __init__(
        self,
        observed: ObservedState,
        schedule: Schedule,
        rollout: Rollout,
        rules: MemoryRules | None,
        observer: Observer | None = None,
    ) -> None:
        self._observed = observed
        self._table = observed.table
        self._schedule = schedule
        self._rollout = rollout
        self._rules = rules
        self._footprint_of: FootprintOf = rules.footprint if rules else _nothing
        self._first = rules.first if rules else no_models
        self._observer = observer or Observer()
        self._workers = rules.workers if rules else 1
        self._holding: set[str] = set()
        #: Somebody waits for room: what others do about it may be seen at any moment.
        self.waiting = False

    def turn(self, wants: Mapping[str, Want]) -> None:
        """Free what is to leave, and let in what is wanted."""
        if self._rules is None:
            return
        self.report()
        residents = self._table.residents()
        for one in residents.residents:
            if one.leaving:
                self._leave(one)
        candidates = self._candidates(wants, residents)
        names = {one.name for one in residents.residents} | {one.name for one in candidates}
        uses, now = self._table.uses(names), time.monotonic()
        memory = Memory(self._rules.budget, self._rules.workers, *self._table.base())
        planner = Planner(uses, memory, self._rules.policy, now, time.time())
        kept, failed = self._kept(wants), self._failed(residents)
        refusals: dict[str, MemoryRefusal] = {}

        def change(before: ResidentSet) -> ResidentSet:
            refusals.clear()
            held = freed(before, uses, now, wanted=kept, failed=failed)
            after = self._with_serving(held, now)
            reserved = 0
            for candidate in candidates:
                admission = planner.admit(after, candidate, reserved)
                after = admission.residents
                if admission.reason is None or candidate.eager:
                    continue
                refusals[candidate.name] = MemoryRefusal(
                    admission.reason,
                    hopeless=admission.hopeless,
                    coming=admission.coming,
                    version=candidate.version,
                )
                if admission.coming:
                    reserved += planner.needed(candidate)
                elif admission.is_next:
                    break  # who came first is not passed by those who need less
            return after

        if change(residents) is not residents:
            after = self._edited(change, residents)
            self._log_evictions(residents, after)
            residents = after
        if refusals and (warm := self._warm()):
            # Sooner than anything is refused, what was kept to answer again is given up.
            residents = self._edited(lambda before: _leaving(before, warm), residents)
            refusals = {name: MemoryRefusal(one.reason, coming=True) for name, one in refusals.items()}
        self._note(refusals, residents)

    def may_load(self, name: str, version: str) -> bool:
        """Whether a version may be loaded here; it counts as held from then on."""
        if self._rules is None:
            return True
        if not self._table.residents().allows(name, version):
            return False
        self._report(name, {version})
        return True

    def report(self) -> None:
        """Say what is in memory here, and what loads."""
        if self._rules is not None:
            for name in {*self._observed.slots, *self._holding}:
                self._report(name)

    def _report(self, name: str, more: Collection[str] = ()) -> None:
        slot = self._observed.slots.get(name)
        loaded = {one.tag.version for one in slot or ()}
        loading = {tag.version for tag in tuple(self._observed.loading) if tag.name == name}
        held = {*loaded, *loading, *more}
        self._table.use(name).holds(held)
        (self._holding.add if held else self._holding.discard)(name)

    def _edited(self, change: Callable[[ResidentSet], ResidentSet], before: ResidentSet) -> ResidentSet:
        try:
            after = self._table.edit(change)
        except OSError as error:
            self.waiting = True
            logger.debug("the resident set cannot be changed now: %s", error)
            return before
        # Those that were evicted a moment ago leave in this turn.
        for one in after.residents:
            if one.leaving:
                self._leave(one)
        return after

    def _log_evictions(self, before: ResidentSet, after: ResidentSet) -> None:
        for name, eviction in after.evictions.items():
            if before.evictions.get(name) == eviction:
                continue
            level = logging.WARNING if eviction.hopeless else logging.INFO
            logger.log(level, "%s:%s: %s", name, eviction.version, eviction.reason)
            left = before.find(name, eviction.version)
            if left is not None:
                tag, size = ModelTag(name, eviction.version), left.footprint.resident(self._workers)
                notify(self._observer.evicted, tag, eviction.reason, size, eviction.idle_seconds)

    def _note(self, refusals: Mapping[str, MemoryRefusal], residents: ResidentSet) -> None:
        for name, refusal in refusals.items():
            known = self._observed.memory_refusals.get(name)
            if refusal.hopeless and (known is None or not known.hopeless):
                logger.warning("%s is refused: %s", name, refusal.reason)
            if refusal.hopeless:
                self._observed.edited.discard(name)
        self._observed.memory_refusals = dict(refusals)
        leaving = any(one.leaving for one in residents.residents)
        self.waiting = leaving or any(not one.hopeless for one in refusals.values())

    def _leave(self, one: Resident) -> None:
        slot = self._observed.slots.get(one.name)
        if slot is None:
            return
        prepared, kept = slot.prepared, slot.kept
        if kept is not None and kept.tag.version == one.version:
            logger.info("%s is let go before its time: its memory is needed", kept.tag)
            slot.release_kept()
            return
        if slot.candidate is not None and slot.candidate.tag.version == one.version:
            self._rollout.end_canary(slot)
            return
        if prepared is not None and prepared.tag.version == one.version:
            self._rollout.withdraw(slot)
        self._rollout.evict(slot, one.version)

    # --- who is to come ------------------------------------------------------------------------

    def _candidates(self, wants: Mapping[str, Want], residents: ResidentSet) -> list[LoadCandidate]:
        """What is to be loaded and may not yet be: what is asked for, then what comes without."""
        missing: dict[str, str] = {}
        for name, want in wants.items():
            version = next_version(want, self._observed.actual(name))
            if version is not None and not residents.allows(name, version):
                missing[name] = version
        self._observed.edited &= missing.keys()
        wished = (*self._switching(missing), *self._schedule.demanded(), *sorted(self._observed.edited))
        asked = [name for name in wished if name in missing]
        others = [name for name in self._in_order(missing) if name not in residents.evictions]
        eager = {name: name not in asked for name in (*asked, *others)}
        return [self._candidate(name, missing[name], eager=eager[name]) for name in eager]

    def _switching(self, missing: Mapping[str, str]) -> list[str]:
        """The models that answer with another version, here or in other workers."""
        slots = self._observed.slots
        return [
            name
            for name, version in missing.items()
            if ((slot := slots.get(name)) is not None and slot.current is not None)
            or self._observed.version_to_follow(name) == version
        ]

    def _in_order(self, names: Collection[str]) -> list[str]:
        first = [name for name in self._first() if name in names]
        required = [name for name in self._observed.desired.required or () if name in names]
        return list(dict.fromkeys((*first, *required, *sorted(names))))

    def _candidate(self, name: str, version: str, *, eager: bool) -> LoadCandidate:
        return LoadCandidate(name, version, self._footprint(name, version), eager)

    def _footprint(self, name: str, version: str) -> Footprint:
        tag = ModelTag(name, version)
        return self._footprint_of(tag, self._observed.version(tag))

    def _kept(self, wants: Mapping[str, Want]) -> list[tuple[str, str]]:
        """The versions whose place is kept though no worker holds them yet."""
        kept = []
        for name, want in wants.items():
            for version in (want.version, want.last_good):
                if version is not None and not self._observed.waiting(ModelTag(name, version)):
                    kept.append((name, version))
                    break
            if want.candidate is not None and not self._observed.waiting(ModelTag(name, want.candidate)):
                kept.append((name, want.candidate))
        return kept

    def _warm(self) -> set[tuple[str, str]]:
        """The versions that are kept here to answer again."""
        kept = [slot.kept for slot in self._observed.slots.values()]
        return {(one.tag.name, one.tag.version) for one in kept if one is not None}

    def _failed(self, residents: ResidentSet) -> list[tuple[str, str]]:
        """The versions that cannot be loaded here."""
        return [
            (one.name, one.version)
            for one in residents.residents
            if self._observed.waiting(ModelTag(one.name, one.version))
        ]

    def _with_serving(self, residents: ResidentSet, now: float) -> ResidentSet:
        """The set with what answers here: it is in memory, whatever the set says."""
        lost = [
            Resident(slot.name, version, self._footprint(slot.name, version), now)
            for slot in list(self._observed.slots.values())
            for version in slot.generations
            if residents.find(slot.name, version) is None
        ]
        return replace(residents, residents=(*residents.residents, *lost)) if lost else residents


def _leaving(residents: ResidentSet, versions: Collection[tuple[str, str]]) -> ResidentSet:
    """The set in which these versions are to be freed by all workers."""
    entries = tuple(
        replace(one, leaving=True) if (one.name, one.version) in versions else one
        for one in residents.residents
    )
    return replace(residents, residents=entries)
