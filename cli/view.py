"""What there is, what is wanted and what serves, put together. Pure: three readings in, one picture out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from hotswap.desired import DesiredState
from hotswap.repository import ModelInfo, VersionInfo
from hotswap.tags import LATEST, natural_key
from workers.run_folder import GenerationState, ModelState, WorkerState

AVAILABLE = "available"
UNSERVABLE = "unservable"
#: States in which nothing of a version is in memory or on its way there.
ASLEEP = frozenset({AVAILABLE, UNSERVABLE, "failed", "closed"})

# When workers differ, the version shows the state that is nearest to answering.
_NEAREST = ("serving", "prepared", "checking", "warming", "loading", "draining", "failed", UNSERVABLE)


@dataclass(frozen=True, slots=True)
class VersionView:
    """One version. `note` is for people: why it does not serve."""

    version: str
    digest: str | None
    state: str
    reason: str | None
    size_bytes: int
    created: datetime | None
    note: str


@dataclass(frozen=True, slots=True)
class ModelView:
    """One model. `serving` is None when nothing serves, or when workers differ."""

    name: str
    target: str | None
    serving: str | None
    generation: int | None
    revision: int
    reason: str | None
    versions: tuple[VersionView, ...]


def views(
    sights: Mapping[str, ModelInfo], desired: DesiredState, workers: Sequence[WorkerState], up: bool
) -> list[ModelView]:
    """Every model that is in the store, wanted, or in a worker, by name."""
    live = {name for worker in workers for name, state in worker.models.items() if state.generations}
    names = {*sights, *(desired.required or ()), *live}
    return [_model(name, sights.get(name), desired, workers, up) for name in sorted(names)]


def _model(
    name: str, sight: ModelInfo | None, desired: DesiredState, workers: Sequence[WorkerState], up: bool
) -> ModelView:
    states = [worker.models[name] for worker in workers if name in worker.models]
    wish = desired.model(name)
    target = wish.target if wish is not None and not wish.unloaded else None
    serving = _same([state.serving for state in states])
    return ModelView(
        name=name,
        target=target,
        serving=serving,
        generation=max((state.generation or 0 for state in states), default=0) or None,
        revision=wish.revision if wish else 0,
        reason=sight.pointer if sight else "not in the store",
        versions=tuple(_versions(sight, states, _Aim(target, sight.latest if sight else None, up))),
    )


def _same(found: Sequence[str | None]) -> str | None:
    return found[0] if found and len(set(found)) == 1 else None


@dataclass(frozen=True, slots=True)
class _Aim:
    """What a model follows, and what that means now."""

    target: str | None
    latest: str | None
    up: bool

    def why_not(self, version: str) -> str:
        """Why a version that could serve does not."""
        wanted = self.latest if self.target == LATEST else self.target
        if self.target is None:
            return "the model is not wanted by OKAWARI_SERVE"
        if version != wanted:
            return f"the target is {self.target}" + (f" ({wanted})" if self.target == LATEST else "")
        return "about to be loaded" if self.up else "the service is down"


def _versions(sight: ModelInfo | None, states: Sequence[ModelState], aim: _Aim) -> Iterator[VersionView]:
    sights = dict(sight.versions) if sight else {}
    live = [one for state in states for one in state.generations]
    names = {*sights, *(one.version for one in live if one.state not in ASLEEP)}
    for version in sorted(names, key=natural_key):
        found = sights.get(version) or VersionInfo(version, reason="its files are gone")
        yield _version(found, [one for one in live if one.version == version], len(states), aim)


def _version(sight: VersionInfo, live: Sequence[GenerationState], workers: int, aim: _Aim) -> VersionView:
    here = [one for one in live if one.state in _NEAREST]
    state = UNSERVABLE if sight.reason else AVAILABLE
    reason = sight.reason
    if here:
        nearest = min(here, key=lambda one: _NEAREST.index(one.state))
        state, reason = nearest.state, nearest.reason or (None if nearest.state == "serving" else reason)
    count = sum(one.state == state for one in here)
    some = f"in {count} of {workers} workers" if 0 < count < workers else None
    trouble = sight.reason if state == "serving" else reason
    note = aim.why_not(sight.version) if state == AVAILABLE else "; ".join(filter(None, (some, trouble)))
    return VersionView(
        version=sight.version,
        digest=next((one.digest for one in here if one.digest), sight.digest),
        state=state,
        reason=reason,
        size_bytes=sight.size_bytes,
        created=sight.created,
        note=note,
    )
