"""The state view: models and versions with their states, read-only, for every wire."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace

from hotswap.backoff import Failure
from hotswap.crop_detector import absence, misfit
from hotswap.desired import DesiredModel, DesiredState
from hotswap.generation import State
from hotswap.observed import MemoryRefusal, ObservedState
from hotswap.repository import Artifact, ModelInfo, VersionInfo, resolve
from hotswap.schedule import Schedule
from hotswap.slot import Routing, Slot
from hotswap.version_status import CanaryStatus, VersionStatus, version_status, without_room
from manifest.profiles import MISSING, Profiles, no_profiles
from manifest.tags import ModelTag, natural_key
from residency.planner import Eviction, Residence

#: What makes a moment of `time.monotonic()` one of the calendar; the same at every look.
_EPOCH = time.time() - time.monotonic()


@dataclass(frozen=True, slots=True)
class ModelStatus:
    """One model: what is wanted, what serves, what there is. `revision` is that of its desired state.

    `missing` means that a profile declares it and the store lacks it.
    """

    name: str
    target: str | None
    serving: str | None
    generation: int | None
    revision: int
    reason: str | None
    versions: tuple[VersionStatus, ...]
    missing: bool = False
    canary: CanaryStatus | None = None


class StateView:
    """What one process knows, as every wire, health and the command line ask it. No method changes anything.

    Any thread may ask. `wait_until` is for coroutines.
    """

    def __init__(
        self,
        observed: ObservedState,
        schedule: Schedule,
        profiles: Profiles = no_profiles,
        *,
        workers: int = 1,
        pinned: Collection[str] = (),
    ) -> None:
        self.workers = workers
        self.pinned = pinned
        self._observed = observed
        self._schedule = schedule
        self.profiles = profiles
        self._waiters: set[Callable[[], None]] = set()

    @property
    def desired(self) -> DesiredState:
        """The desired state, as it was read last."""
        return self._observed.desired

    @property
    def default(self) -> str | None:
        """The model that answers requests which name none."""
        return self._observed.desired.default

    @property
    def required(self) -> tuple[str, ...] | None:
        """The models that must serve for readiness; None: at least one, whichever."""
        return self._observed.desired.required

    def slots(self) -> dict[str, Slot]:
        """The slots, by name, at this moment."""
        return dict(self._observed.slots)

    def slot(self, name: str) -> Slot | None:
        """The slot of a model, to lease from."""
        return self._observed.slots.get(name)

    def info(self, name: str) -> ModelInfo | None:
        """What the store held of a model at the last look."""
        return self._observed.models.get(name)

    def infos(self) -> Mapping[str, ModelInfo]:
        """What the store held at the last look, by model."""
        return self._observed.models

    def resolved(self, name: str, target: str) -> str | None:
        """The version that a target means now; None when it means none."""
        return self._observed.resolved(name, target)

    def names(self) -> list[str]:
        """The name of every model in the store, in a slot, required or declared."""
        known = self._observed.models, self._observed.slots, self.required or (), self.profiles()
        return sorted({name for names in known for name in tuple(names)})

    def models(self) -> list[ModelStatus]:
        """Every model in the store, in a slot, required or declared, by name."""
        return [self.model(name) for name in self.names()]

    def model(self, name: str) -> ModelStatus:
        """One model; it may be one that is not known."""
        info = self._observed.models.get(name)
        desired = self.desired.model(name)
        missing = info is None and name in self.profiles()
        routing = self._routing(name)
        current = routing.pick() if routing else None
        return ModelStatus(
            name=name,
            target=desired.target if desired else None,
            serving=current.tag.version if current else None,
            generation=routing.number if routing and current else None,
            revision=desired.revision if desired else 0,
            reason=MISSING if missing else _reason(info, desired),
            versions=tuple(self._versions(name, info)),
            missing=missing,
            canary=self.canary(name),
        )

    def canary(self, name: str) -> CanaryStatus | None:
        """The version that answers a share of the requests now; None without one."""
        routing = self._routing(name)
        if routing is None or len(routing.shares) < 2:
            return None
        candidate, share = routing.shares[1]
        return CanaryStatus(candidate.tag.version, share)

    def serving(self, name: str) -> str | None:
        """The version that answers for a model now."""
        routing = self._routing(name)
        current = routing.pick() if routing else None
        return current.tag.version if current else None

    def meant(self, name: str) -> VersionInfo | None:
        """The version that answers for a model, else the one that its target means; None for none."""
        routing = self._routing(name)
        current = routing.pick() if routing else None
        if current is not None:
            return _loaded(current.artifact)
        info, desired = self._observed.models.get(name), self.desired.models.get(name) or DesiredModel()
        version = resolve(desired.target, info).version
        return info.versions.get(version) if info is not None and version is not None else None

    def residence(self, name: str) -> Residence:
        """Whether a model is in memory, and what it takes there."""
        table = self._observed.table
        slot, residents = self._observed.slots.get(name), table.residents()
        loaded = [one for one in slot or () if one.state is not State.CLOSED]
        use = table.uses([name]).get(name)
        used = use.last_used if use is not None else 0.0
        refusal, eviction = self.memory_refusal(name), residents.evictions.get(name)
        return Residence(
            bool(loaded),
            sum(self._memory_of(one.artifact) for one in loaded),
            used + _EPOCH if used else None,
            bool(loaded) and self._is_evictable(name),
            None if loaded else _reason_not_resident(refusal, eviction),
        )

    def _is_evictable(self, name: str) -> bool:
        residents = self._observed.table.residents().of(name)
        return bool(residents) and name not in self.pinned

    def _memory_of(self, artifact: Artifact) -> int:
        """What a version takes in all workers, in bytes; 0 where that is not known."""
        entry = self._observed.table.residents().find(artifact.tag.name, artifact.tag.version)
        if entry is not None:
            return entry.footprint.resident(self.workers)
        return artifact.measured.resident_bytes * self.workers if artifact.measured else 0

    def memory_refusal(self, name: str) -> MemoryRefusal | None:
        """Why a model finds no room in memory now; None where it has not been refused."""
        return self._observed.memory_refusals.get(name)

    def version_to_bring(self, name: str) -> str | None:
        """The version that a request would bring into memory; None where it would bring none."""
        return self._observed.version_to_bring(name)

    def servable(self, name: str) -> bool:
        """Whether a request for a model is answered: a version serves, or is brought into memory for it."""
        return self.serving(name) is not None or self._fits(name)

    def _fits(self, name: str) -> bool:
        """Whether a request brings a version into memory, and there could be room for it."""
        version = self.version_to_bring(name)
        left_out = self._left_out(name)
        return version is not None and (
            left_out is None or not left_out.hopeless or left_out.version != version
        )

    def _left_out(self, name: str) -> Eviction | None:
        return self._observed.table.residents().evictions.get(name)

    def known(self, name: str) -> bool:
        """Whether there is, was or should be a model of that name."""
        places = self._observed.models, self._observed.slots, self.required or (), self.profiles()
        return any(name in place for place in places)

    def ready(self) -> bool:
        """Every required model has a version that serves or is brought when asked for.

        Where none is required, at least one model has.
        """
        if self.required is not None:
            return all(map(self.servable, self.required))
        # The reconciler's thread may add one meanwhile.
        return any(map(self.servable, list(self._observed.slots))) or any(
            map(self.servable, list(self._observed.wants))
        )

    def not_serving(self, names: Iterable[str]) -> list[str]:
        """Those of the models that have no version in their slot to answer with."""
        slots = self._observed.slots
        return [
            name
            for name in names
            if ((slot := slots.get(name)) is None or slot.current is None) and not self._fits(name)
        ]

    def reason(self, name: str) -> str | None:
        """Why the target of a model means no version, or what is wrong in the store; None if nothing is."""
        return _reason(self._observed.models.get(name), self.desired.model(name))

    def crop_trouble(self, name: str) -> str | None:
        """Why the version that answers cannot crop with what serves; None if it can, or does not crop."""
        routing = self._routing(name)
        current = routing.pick() if routing else None
        crop = current.artifact.config.crop_with if current else None
        if crop is None:
            return None
        routing = self._routing(crop.model)
        detector = routing.pick() if routing else None
        if detector is None:
            if self.version_to_bring(crop.model) is not None:
                return None
            return absence(crop, known=self.known(crop.model))
        return misfit(crop, name, detector.tag, detector.artifact.config)

    def misfit(self, name: str) -> str | None:
        """What the version that answers is other than declared; None if nothing, or if none answers."""
        routing = self._routing(name)
        current, profile = routing.pick() if routing else None, self.profiles().get(name)
        return profile.misfit(current.artifact.config) if current and profile else None

    def is_current(self, name: str) -> bool:
        """Whether this process can answer for a model as all workers have decided."""
        slot = self._observed.slots.get(name)
        if slot is None:
            return self._observed.coordinator.number(name) == 0
        return slot.effective() is not None

    def cannot_follow(self, name: str) -> bool:
        """Whether what the workers decided cannot be loaded here, so that waiting for it does not help."""
        return self._observed.cannot_follow(name)

    def failure(self, tag: ModelTag) -> Failure | None:
        """Why a version does not serve, if it failed."""
        return self._observed.backoff.failures.get(tag)

    def refusals(self, name: str, version: str, revision: int) -> tuple[str, ...]:
        """Why living workers refuse a version that was desired at `revision`. Raises `OSError`."""
        return self._observed.coordinator.refusals(name, version, revision)

    def coming(self, name: str) -> set[str]:
        """Versions of a model that are loaded now or wait for the other workers."""
        slot = self._observed.slots.get(name)
        prepared = slot.prepared if slot is not None else None
        loading = {tag.version for tag in list(self._observed.loading) if tag.name == name}
        return loading | ({prepared.tag.version} if prepared is not None else set())

    def may_come(self, name: str) -> bool:
        """Whether a version is loaded, is copied in, or may be planned by the look under way."""
        incomplete = (tag for tag, why in list(self._observed.backoff.failures.items()) if why.settling)
        return bool(
            self.coming(name) or self._schedule.under_way or any(tag.name == name for tag in incomplete)
        )

    @property
    def loads(self) -> bool:
        """Whether a version is loaded, or is loaded and waits for other workers."""
        slots = list(self._observed.slots.values())
        return bool(self._observed.loading) or any(slot.prepared is not None for slot in slots)

    @property
    def idle(self) -> bool:
        """Whether nothing is loaded, waits for other workers or is to be recorded; and no look goes on."""
        ended = self._schedule.ended
        observed = self._observed
        waits = any(not one.hopeless for one in observed.memory_refusals.values())
        busy = (
            waits
            or bool(observed.loading)
            or any(
                slot.publications or (slot.prepared is not None and slot.name not in observed.refusals)
                for slot in list(observed.slots.values())
            )
        )
        # A look that is half done has taken an outcome in and not yet acted on it.
        return not busy and self._schedule.begun == ended

    def settled(self) -> bool:
        """Whether a look has ended and nothing more is about to serve by itself."""
        incomplete = (tag for tag, why in list(self._observed.backoff.failures.items()) if why.settling)
        waits = any(self.serving(tag.name) is None for tag in incomplete)
        return self._schedule.ended > 0 and self.idle and not waits

    async def wait_until(self, holds: Callable[[], bool], seconds: float) -> bool:
        """Wait until `holds()`, asked after every look; False when that takes longer than `seconds`."""
        loop = asyncio.get_running_loop()
        looked = asyncio.Event()

        def wake() -> None:
            loop.call_soon_threadsafe(looked.set)

        self._waiters.add(wake)
        try:
            async with asyncio.timeout(seconds):
                while not holds():
                    await looked.wait()
                    looked.clear()
        except TimeoutError:
            return holds()
        finally:
            self._waiters.discard(wake)
        return True

    def changed(self) -> None:
        """A look has ended: wake who waits."""
        for wake in tuple(self._waiters):
            with suppress(RuntimeError):  # the loop ended meanwhile
                wake()

    def _routing(self, name: str) -> Routing | None:
        slot = self._observed.slots.get(name)
        return slot.effective() if slot is not None else None

    def _versions(self, name: str, info: ModelInfo | None) -> list[VersionStatus]:
        slot = self._observed.slots.get(name)
        failures = self._observed.backoff.failures
        stored = dict(info.versions) if info else {}
        # A closed one is on its way out of the list; its version is available again.
        live = {one.tag.version: one for one in reversed(list(slot or ())) if one.state is not State.CLOSED}
        failed = {tag.version: why for tag, why in list(failures.items()) if tag.name == name}
        loading = {
            tag.version: str(state) for tag, state in list(self._observed.loading.items()) if tag.name == name
        }
        versions = [
            version_status(
                stored.get(version, VersionInfo(version)),
                live.get(version),
                loading.get(version),
                failed.get(version),
            )
            for version in sorted({*stored, *live, *loading}, key=natural_key)
        ]
        no_room = (self.memory_refusal(name), self._left_out(name))
        versions = without_room(
            versions, {one.version: one.reason for one in no_room if one and one.hopeless}
        )
        trouble = self.crop_trouble(name) or self.misfit(name)
        if trouble is None:
            return versions
        serving = self.serving(name)
        return [
            replace(each, reason=each.reason or trouble) if each.version == serving else each
            for each in versions
        ]


def _loaded(artifact: Artifact) -> VersionInfo:
    return VersionInfo(
        version=artifact.tag.version,
        digest=artifact.digest,
        size_bytes=artifact.size_bytes,
        created=artifact.created,
        config=artifact.config,
        measured=artifact.measured,
    )


def _reason_not_resident(refusal: MemoryRefusal | None, eviction: Eviction | None) -> str | None:
    if refusal is not None:
        return refusal.reason
    return eviction.reason if eviction is not None else None


def _reason(info: ModelInfo | None, desired: DesiredModel | None) -> str | None:
    if info is None:
        return "not in the store"
    if desired is not None and desired.unloaded:
        return "unloaded: it answers again when it is loaded or its target is set"
    meant = resolve(desired.target, info) if desired is not None else None
    return (meant and meant.reason) or info.pointer
