"""What is: models and versions with their states, as plain data for every wire and the command line."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

from hotswap.backoff import Failure
from hotswap.desired import DesiredModel
from hotswap.generation import Generation, State
from hotswap.reconciler import Reconciler
from hotswap.repository import ModelInfo, VersionInfo
from hotswap.slot import Slot
from hotswap.tags import ModelTag, natural_key

AVAILABLE = "available"
UNSERVABLE = "unservable"


@dataclass(frozen=True, slots=True)
class VersionStatus:
    """One version: a lifecycle word, `available` or `unservable`, and why."""

    version: str
    digest: str | None
    state: str
    reason: str | None
    size_bytes: int
    created: datetime | None


@dataclass(frozen=True, slots=True)
class ModelStatus:
    """One model: what is wanted, what serves, what there is. `revision` is that of the wish."""

    name: str
    target: str | None
    serving: str | None
    generation: int | None
    revision: int
    reason: str | None
    versions: tuple[VersionStatus, ...]


def models(reconciler: Reconciler) -> list[ModelStatus]:
    """Every model in the store or in a slot, by name."""
    names = {*reconciler.sights, *reconciler.slots, *(reconciler.document.required or ())}
    return [model(reconciler, name) for name in sorted(names)]


def model(reconciler: Reconciler, name: str) -> ModelStatus:
    """One model; it may be one that nobody knows."""
    sight = reconciler.sights.get(name)
    slot = reconciler.slots.get(name)
    wish = reconciler.document.wish(name)
    current = slot.current if slot and reconciler.in_step(name) else None
    return ModelStatus(
        name=name,
        target=wish.target if wish else None,
        serving=current.tag.version if current else None,
        generation=current.number if current else None,
        revision=wish.revision if wish else 0,
        reason=_reason(sight, wish),
        versions=tuple(_versions(reconciler, name, sight, slot)),
    )


def _reason(sight: ModelInfo | None, wish: DesiredModel | None) -> str | None:
    if sight is None:
        return "not in the store"
    if wish is not None and wish.unloaded:
        return "unloaded: it answers again when it is loaded or its target is set"
    return sight.pointer


def known(reconciler: Reconciler, name: str) -> bool:
    """Whether there is, was or should be a model of that name."""
    required = reconciler.document.required or ()
    return name in reconciler.sights or name in reconciler.slots or name in required


def ready(reconciler: Reconciler) -> bool:
    """Every required model has a serving version; where none is named, at least one model has."""
    slots = list(reconciler.slots.items())  # the reconciler's thread may add one while we read
    serving = {name for name, slot in slots if reconciler.in_step(name) and slot.current is not None}
    required = reconciler.document.required
    return bool(serving) if required is None else serving.issuperset(required)


def settled(reconciler: Reconciler) -> bool:
    """Whether a look has ended and nothing more is about to serve by itself."""
    settling = (tag for tag, why in list(reconciler.backoff.failures.items()) if why.settling)
    waits = any(model(reconciler, tag.name).serving is None for tag in settling)
    return reconciler.steps > 0 and reconciler.idle and not waits


def empty(reconciler: Reconciler, names: Iterable[str]) -> list[str]:
    """Those of the models that have no version in their slot to answer with."""
    slots = reconciler.slots
    return [name for name in names if (slot := slots.get(name)) is None or slot.current is None]


def _versions(
    reconciler: Reconciler, name: str, sight: ModelInfo | None, slot: Slot | None
) -> list[VersionStatus]:
    sights = dict(sight.versions) if sight else {}
    # A closed one is on its way out of the list; its version is available again.
    live = {each.tag.version: each for each in reversed(list(slot or ())) if each.state is not State.CLOSED}
    failures = {
        tag.version: why for tag, why in list(reconciler.backoff.failures.items()) if tag.name == name
    }
    loading = {tag.version: str(state) for tag, state in list(reconciler.loading.items()) if tag.name == name}
    return [
        _version(
            sights.get(version, VersionInfo(version)),
            live.get(version),
            loading.get(version),
            failures.get(version),
        )
        for version in sorted({*sights, *live, *loading}, key=natural_key)
    ]


def _version(
    sight: VersionInfo, live: Generation | None, loading: str | None, failure: Failure | None
) -> VersionStatus:
    state, reason = _state(sight, live, loading, failure)
    artifact = live.artifact if live else None
    digest = artifact.digest if artifact else sight.digest or (failure.digest if failure else None)
    return VersionStatus(
        version=sight.version,
        digest=digest,
        state=state,
        reason=reason,
        size_bytes=artifact.size_bytes if artifact else sight.size_bytes,
        created=artifact.created if artifact else sight.created,
    )


def _state(
    sight: VersionInfo, live: Generation | None, loading: str | None, failure: Failure | None
) -> tuple[str, str | None]:
    if loading is not None:
        return loading, None
    if live is not None:
        return str(live.state), _drifted(sight, live)
    if failure is not None:
        return (UNSERVABLE if failure.settling or sight.reason else "failed"), failure.reason
    return (UNSERVABLE, sight.reason) if sight.reason else (AVAILABLE, None)


def _drifted(sight: VersionInfo, live: Generation) -> str | None:
    """What has happened to the files of a loaded version since; it serves on what it loaded."""
    if sight.created is None and sight.size_bytes == 0 and sight.digest is None:
        return sight.reason or "its files are gone from the store; it serves on what it has loaded"
    if sight.digest is not None and sight.digest != live.artifact.digest:
        return "the store holds other files under this tag; it serves on what it has loaded"
    return sight.reason


def failure_of(reconciler: Reconciler, tag: ModelTag) -> Failure | None:
    """Why a version does not serve, if it failed."""
    failures: Mapping[ModelTag, Failure] = reconciler.backoff.failures
    return failures.get(tag)


class StateChanges:
    """Lets coroutines wait for the reconciler's next step."""

    def __init__(self, reconciler: Reconciler) -> None:
        self._waiters: set[Callable[[], None]] = set()
        reconciler.on_step.append(self._tell)

    def _tell(self) -> None:
        for wake in tuple(self._waiters):
            with suppress(RuntimeError):  # the loop ended while we told it
                wake()

    async def until(self, holds: Callable[[], bool], seconds: float) -> bool:
        """Wait until `holds()`; False when that takes longer than `seconds`."""
        loop = asyncio.get_running_loop()
        stepped = asyncio.Event()

        def wake() -> None:
            loop.call_soon_threadsafe(stepped.set)

        self._waiters.add(wake)
        try:
            async with asyncio.timeout(seconds):
                while not holds():
                    await stepped.wait()
                    stepped.clear()
        except TimeoutError:
            return holds()
        finally:
            self._waiters.discard(wake)
        return True
