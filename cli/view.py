"""The view of models and versions: store, desired state and workers combined. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from hotswap.desired import DesiredState
from hotswap.repository import ModelInfo, VersionInfo, resolve
from manifest.profiles import MISSING
from manifest.tags import LATEST, alias_of, natural_key
from workers.run_folder import GenerationState, ModelState, WorkerState

AVAILABLE = "available"
UNSERVABLE = "unservable"
#: States of versions that are neither in memory nor being loaded.
ASLEEP = frozenset({AVAILABLE, UNSERVABLE, "failed", "closed"})

# When workers differ, a version shows the state that is nearest to serving.
_NEAREST = ("serving", "prepared", "checking", "warming", "loading", "kept", "draining", "failed", UNSERVABLE)


@dataclass(frozen=True, slots=True)
class VersionView:
    """One version. `note` is for people: why it is not serving."""

    version: str
    digest: str | None
    state: str
    reason: str | None
    size_bytes: int
    created: datetime | None
    device: str | None
    device_reason: str | None
    note: str


@dataclass(frozen=True, slots=True)
class ModelView:
    """One model. `serving` is None when no version is serving, or when workers differ.

    `missing`: the list of models declares it, and the store lacks it.
    """

    name: str
    target: str | None
    serving: str | None
    generation: int | None
    revision: int
    reason: str | None
    versions: tuple[VersionView, ...]
    missing: bool = False


def views(
    stored: Mapping[str, ModelInfo],
    desired: DesiredState,
    workers: Sequence[WorkerState],
    up: bool,
    declared: Collection[str] = (),
) -> list[ModelView]:
    """Every model of the store, the desired state, the workers and the list of models, by name."""
    live = {name for worker in workers for name, state in worker.models.items() if state.generations}
    names = {*stored, *(desired.required or ()), *live, *declared}
    models = [_model(name, stored.get(name), desired, workers, up) for name in sorted(names)]
    return [
        replace(each, missing=True, reason=MISSING)
        if each.name in declared and each.name not in stored
        else each
        for each in models
    ]


def _model(
    name: str, stored: ModelInfo | None, desired: DesiredState, workers: Sequence[WorkerState], up: bool
) -> ModelView:
    states = [worker.models[name] for worker in workers if name in worker.models]
    wanted = desired.model(name)
    target = wanted.target if wanted is not None and not wanted.unloaded else None
    serving = _same([state.serving for state in states])
    away = _same([state.away for state in states])
    return ModelView(
        name=name,
        target=target,
        serving=serving,
        generation=max((state.generation or 0 for state in states), default=0) or None,
        revision=wanted.revision if wanted else 0,
        reason=stored.pointer if stored else "not in the store",
        versions=tuple(_versions(stored, states, _Target(target, _meant(target, stored), away, up))),
    )


def _meant(target: str | None, stored: ModelInfo | None) -> str | None:
    return None if target is None else resolve(target, stored).version


def _same(versions: Sequence[str | None]) -> str | None:
    return versions[0] if versions and len(set(versions)) == 1 else None


@dataclass(frozen=True, slots=True)
class _Target:
    """A model's target, the version that it resolves to, and the one that a request brings into memory."""

    target: str | None
    meant: str | None
    away: str | None
    up: bool

    def why_not(self, version: str) -> str:
        """Why an available version is not serving."""
        if self.target is None:
            return "the model is not selected by OKAWARI_SERVE"
        if version == self.away:
            return "not in memory: it is loaded when it is asked for"
        if version != self.meant:
            moves = self.target == LATEST or alias_of(self.target) is not None
            return f"the target is {self.target}" + (f" ({self.meant})" if moves else "")
        return "about to be loaded" if self.up else "the service is down"


def _versions(
    stored: ModelInfo | None, states: Sequence[ModelState], target: _Target
) -> Iterator[VersionView]:
    versions = dict(stored.versions) if stored else {}
    live = [generation for state in states for generation in state.generations]
    names = {*versions, *(generation.version for generation in live if generation.state not in ASLEEP)}
    for name in sorted(names, key=natural_key):
        version = versions.get(name) or VersionInfo(name, reason="its files are gone")
        generations = [generation for generation in live if generation.version == name]
        yield _version(version, generations, len(states), target)


def _version(
    stored: VersionInfo, generations: Sequence[GenerationState], workers: int, target: _Target
) -> VersionView:
    live = [generation for generation in generations if generation.state in _NEAREST]
    state = UNSERVABLE if stored.reason else AVAILABLE
    reason = stored.reason
    if live:
        nearest = min(live, key=lambda generation: _NEAREST.index(generation.state))
        state, reason = nearest.state, nearest.reason or (None if nearest.state == "serving" else reason)
    count = sum(generation.state == state for generation in live)
    some = f"in {count} of {workers} workers" if 0 < count < workers else None
    problem = (stored.reason if state == "serving" else None) or reason
    note = target.why_not(stored.version) if state == AVAILABLE else "; ".join(filter(None, (some, problem)))
    return VersionView(
        version=stored.version,
        digest=next((generation.digest for generation in live if generation.digest), stored.digest),
        state=state,
        reason=reason,
        size_bytes=stored.size_bytes,
        created=stored.created,
        device=next((each.device for each in live if each.device), None),
        device_reason=next((each.device_reason for each in live if each.device_reason), None),
        note=note,
    )
