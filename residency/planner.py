"""Residency: which versions are in memory, within a budget of bytes for the whole service. Pure.

Who was used least recently leaves first, weighed by what bringing it back costs. A version that is borrowed,
loads, is pinned or has just come never leaves. What is leaving counts until it is freed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

#: Seconds of loading that every version is taken to need at least, in the choice of who leaves.
_LEAST_LOAD = 0.1
#: Seconds since its last use from which a version may leave though by its footprint that is not enough.
_LONG_UNUSED = 5.0
#: Seconds for which a version keeps its place though no worker holds it and one does not want it.
_GRACE = 2.0
_MB = 1_000_000


@dataclass(frozen=True, slots=True)
class Footprint:
    """Bytes of memory that a loaded version takes.

    `shared` counts once for all workers (weights mapped from a file), `own` and `peak` in each worker: after
    and while it loads. `load_seconds` is what bringing it back costs.
    """

    shared: int
    own: int
    peak: int
    load_seconds: float = 0.0

    def resident(self, workers: int) -> int:
        """Bytes in so many workers together, once it is loaded."""
        return self.shared + workers * self.own

    def loading(self, workers: int) -> int:
        """Bytes in so many workers together while all of them load it."""
        return self.shared + workers * max(self.own, self.peak)


@dataclass(frozen=True, slots=True)
class Residence:
    """Whether a model is in memory, as operators see it.

    `memory_bytes` are those of its loaded versions in all workers; `last_used` is in seconds since the epoch.
    `evictable` means that it may leave to make room; `reason` says why it is not in memory.
    """

    loaded: bool
    memory_bytes: int = 0
    last_used: float | None = None
    evictable: bool = False
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Resident:
    """A version that may be in memory. `since` is a moment of `time.monotonic()`.

    `eager`: it came without having been asked for. `leaving`: it is to be freed by all workers.
    """

    name: str
    version: str
    footprint: Footprint
    since: float
    eager: bool = False
    leaving: bool = False


@dataclass(frozen=True, slots=True)
class Eviction:
    """Why a model is not in memory: it was evicted, or left out. `at` is in seconds since the epoch.

    `hopeless`: it needs more than there is, whatever else leaves.
    """

    version: str
    reason: str
    at: float
    idle_seconds: float = 0.0
    hopeless: bool = False


@dataclass(frozen=True, slots=True)
class ResidentSet:
    """The decision of the service about its memory; the workers load nothing else."""

    residents: tuple[Resident, ...] = ()
    evictions: Mapping[str, Eviction] = field(default_factory=dict)

    def find(self, name: str, version: str) -> Resident | None:
        """The entry of a version."""
        return next((one for one in self.residents if (one.name, one.version) == (name, version)), None)

    def of(self, name: str) -> tuple[Resident, ...]:
        """The entries of a model."""
        return tuple(one for one in self.residents if one.name == name)

    def allows(self, name: str, version: str) -> bool:
        """Whether a worker may load the version."""
        entry = self.find(name, version)
        return entry is not None and not entry.leaving


def mark_of(version: str) -> int:
    """64 bits that stand for a version; never 0."""
    return int.from_bytes(hashlib.blake2b(version.encode(), digest_size=8).digest()) | 1


#: In place of the mark of a version: a worker holds more versions than it has room to name.
MANY = 2**64 - 2


@dataclass(frozen=True, slots=True)
class Use:
    """The use of a model in all living workers. Moments are of `time.monotonic()`, 0 for never.

    `opened` is when a version of it last came to answer. `awaited` are the requests that wait for it to be
    loaded. `held` are the marks of the versions that each worker loads or has in memory.
    """

    last_used: float = 0.0
    opened: float = 0.0
    leases: int = 0
    held: tuple[frozenset[int], ...] = ()
    awaited: int = 0

    def is_held(self, version: str) -> bool:
        """Whether a worker has the version in memory, or loads it."""
        mark = mark_of(version)
        return any(mark in marks or MANY in marks for marks in self.held)

    def is_held_by_all(self, version: str) -> bool:
        """Whether each worker has it."""
        mark = mark_of(version)
        return bool(self.held) and all(mark in marks or MANY in marks for marks in self.held)


@dataclass(frozen=True, slots=True)
class Memory:
    """What there is. `base` is what the workers take beside their models, all of them together.

    `least` is the least that they took: what a model takes beyond its footprint is in `base` until it leaves.
    """

    budget: int
    workers: int = 1
    base: int = 0
    least: int = 0

    @property
    def room(self) -> int:
        """Bytes for models."""
        return self.budget - self.base


@dataclass(frozen=True, slots=True)
class Policy:
    """Models that are `pinned` never leave, unused ones not before `minimum_stay` seconds."""

    pinned: frozenset[str] = frozenset()
    minimum_stay: float = 0.2


@dataclass(frozen=True, slots=True)
class LoadCandidate:
    """A version that is to come into memory.

    An eager one comes without a request: no other leaves for it, and without room it is left out.
    """

    name: str
    version: str
    footprint: Footprint
    eager: bool = False


@dataclass(frozen=True, slots=True)
class LoadAdmission:
    """What came of a candidate: `residents` is the set after it.

    `reason` None: it may be loaded. Otherwise why it may not; `hopeless`: waiting does not help; `coming`:
    room is being made; `is_next`: there is room as soon as others may leave, and no other may pass it.
    """

    residents: ResidentSet
    reason: str | None = None
    hopeless: bool = False
    coming: bool = False
    is_next: bool = False


class Planner:
    """One look at the memory: what is counted, who may leave. `now` is a moment of `time.monotonic()`."""

    def __init__(
        self, uses: Mapping[str, Use], memory: Memory, policy: Policy, now: float, wall: float
    ) -> None:
        self._uses = uses
        self._memory = memory
        self._policy = policy
        self._now = now
        self._wall = wall

    def bytes_of(self, one: Resident) -> int:
        """What an entry counts: its peak until all workers have loaded it."""
        use, workers = self._use(one.name), self._memory.workers
        loaded = one.leaving or use.is_held_by_all(one.version)
        return one.footprint.resident(workers) if loaded else one.footprint.loading(workers)

    def is_evictable(self, one: Resident) -> bool:
        """Whether an entry may be evicted now."""
        return not one.leaving and self._may_ever_leave(one) and self._may_leave_now(one)

    def admit(self, residents: ResidentSet, candidate: LoadCandidate, reserved: int = 0) -> LoadAdmission:
        """Let a candidate in, or evict others for it, or say why not.

        `reserved` bytes are for candidates before it, for whom room is being made.
        """
        known = residents.find(candidate.name, candidate.version)
        if known is not None and not known.leaving:
            return LoadAdmission(residents)
        need = self.needed(candidate)
        free = self._memory.room - reserved - sum(map(self.bytes_of, residents.residents))
        if known is not None:
            reason = f"{candidate.name}:{candidate.version} is being freed"
            return LoadAdmission(residents, reason, coming=True)
        if need <= free:
            return LoadAdmission(self._with(residents, candidate))
        reason = self._arithmetic(residents, candidate, need)
        if candidate.eager:
            hopeless = self._is_hopeless(residents, candidate)
            text = reason if hopeless else f"loads when it is asked for: {reason}"
            left_out = Eviction(candidate.version, text, self._wall, hopeless=hopeless)
            evictions = {**residents.evictions, candidate.name: left_out}
            return LoadAdmission(replace(residents, evictions=evictions), reason)
        return self._make_room(residents, candidate, need - free, reason)

    def needed(self, candidate: LoadCandidate) -> int:
        """Bytes that a candidate takes while it loads."""
        return candidate.footprint.loading(self._memory.workers)

    def _make_room(
        self, residents: ResidentSet, candidate: LoadCandidate, missing: int, reason: str
    ) -> LoadAdmission:
        coming = sum(self.bytes_of(one) for one in residents.residents if one.leaving)
        if missing <= coming:
            return LoadAdmission(residents, reason, coming=True)
        others = [one for one in residents.residents if one.name != candidate.name and not one.leaving]
        evictable = [one for one in others if self.is_evictable(one)]
        leaving = self._victims(evictable, missing - coming)
        if not leaving and self._is_hopeless(residents, candidate):
            return LoadAdmission(residents, reason, hopeless=True)
        ever = [one for one in others if self._may_ever_leave(one)]
        is_next = missing - coming <= sum(map(self.bytes_of, ever))
        if not leaving and not is_next and len(evictable) == len(ever):
            # Some of them may take more than their footprints say. What is asked for all the time stays: it
            # would be gone for nothing where the workers themselves have grown.
            leaving = [one for one in evictable if self._unused(one) >= _LONG_UNUSED]
        if leaving:
            return LoadAdmission(self._with_evicted(residents, leaving, candidate), reason, coming=True)
        return LoadAdmission(residents, reason, is_next=is_next)

    def _is_hopeless(self, residents: ResidentSet, candidate: LoadCandidate) -> bool:
        """Whether a candidate would find no room if everything left that ever may."""
        stays = [
            one
            for one in residents.residents
            if one.name == candidate.name or not (one.leaving or self._may_ever_leave(one))
        ]
        most = self._memory.budget - self._memory.least
        return self.needed(candidate) > most - sum(map(self.bytes_of, stays))

    def _victims(self, evictable: list[Resident], missing: int) -> list[Resident]:
        """The entries to evict for so many bytes; none where that is not enough."""
        chosen: list[Resident] = []
        freed = 0
        for one in sorted(evictable, key=self._idle, reverse=True):
            if freed >= missing:
                break
            chosen.append(one)
            freed += self.bytes_of(one)
        if freed < missing:
            return []
        for one in list(chosen):  # a large one that came last may make others needless
            if freed - self.bytes_of(one) >= missing:
                chosen.remove(one)
                freed -= self.bytes_of(one)
        return chosen

    def _idle(self, one: Resident) -> float:
        """Seconds since it was last used, over the seconds that bringing it back takes."""
        return self._unused(one) / (one.footprint.load_seconds + _LEAST_LOAD)

    def _unused(self, one: Resident) -> float:
        use = self._use(one.name)
        return max(0.0, self._now - max(use.last_used, use.opened, one.since))

    def _may_ever_leave(self, one: Resident) -> bool:
        return one.name not in self._policy.pinned

    def _may_leave_now(self, one: Resident) -> bool:
        use = self._use(one.name)
        # Who waited for it has yet to borrow it, or it would leave unused, again and again. In a process that
        # is full that takes longer than any minimum.
        came = max(use.opened, one.since)
        stayed = use.last_used > came or self._now - came >= self._policy.minimum_stay
        return stayed and not use.leases and not use.awaited and use.is_held_by_all(one.version)

    def _with(self, residents: ResidentSet, candidate: LoadCandidate) -> ResidentSet:
        fresh = Resident(
            candidate.name, candidate.version, candidate.footprint, self._now, eager=candidate.eager
        )
        evictions = {name: one for name, one in residents.evictions.items() if name != candidate.name}
        return ResidentSet((*residents.residents, fresh), evictions)

    def _with_evicted(
        self, residents: ResidentSet, leaving: list[Resident], candidate: LoadCandidate
    ) -> ResidentSet:
        entries = tuple(replace(one, leaving=one.leaving or one in leaving) for one in residents.residents)
        reason = f"evicted to make room for {candidate.name}:{candidate.version}"
        gone = {one.name: Eviction(one.version, reason, self._wall, self._unused(one)) for one in leaving}
        return ResidentSet(entries, {**residents.evictions, **gone})

    def _arithmetic(self, residents: ResidentSet, candidate: LoadCandidate, need: int) -> str:
        present = residents.residents
        fixed = [one for one in present if not one.leaving and not self.is_evictable(one)]
        return (
            f"{candidate.name}:{candidate.version} needs {_mb(need)} MB at its peak; "
            f"budget {_mb(self._memory.budget)}, workers {_mb(self._memory.base)}, "
            f"resident {_mb(sum(map(self.bytes_of, present)))}, "
            f"of which {_mb(sum(map(self.bytes_of, fixed)))} leased, pinned or just loaded"
        )

    def _use(self, name: str) -> Use:
        return self._uses.get(name, Use())


def _mb(count: int) -> str:
    return f"{-(-max(0, count) // _MB):,}"


def freed(
    residents: ResidentSet,
    uses: Mapping[str, Use],
    now: float,
    *,
    wanted: Iterable[tuple[str, str]] = (),
    failed: Iterable[tuple[str, str]] = (),
) -> ResidentSet:
    """The set without what no worker holds any more and was to leave, or is not wanted, or has failed."""
    kept, bad = set(wanted), set(failed)

    def is_held(one: Resident) -> bool:
        return uses.get(one.name, Use()).is_held(one.version)

    def is_fresh(one: Resident) -> bool:
        # Another worker may have let it in for a target that this one has yet to read.
        replaced = any(other.since > one.since and is_held(other) for other in residents.of(one.name))
        return not replaced and now - one.since < _GRACE

    def stays(one: Resident) -> bool:
        key = one.name, one.version
        return is_held(one) or (not one.leaving and key not in bad and (key in kept or is_fresh(one)))

    entries = tuple(filter(stays, residents.residents))
    return residents if len(entries) == len(residents.residents) else replace(residents, residents=entries)
