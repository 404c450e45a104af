"""Which generation answers a request: found by model and version, leased, and waited for where that helps."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from hotswap.errors import (
    DeadlineExceeded,
    InsufficientMemory,
    ModelNotFound,
    ModelNotLoaded,
    ModelNotReady,
    ModelRequired,
    VersionNotFound,
    VersionNotLoaded,
)
from hotswap.events import Observer, notify
from hotswap.generation import Generation, Lease
from hotswap.schedule import Schedule
from hotswap.slot import NotResident, NotSwitched
from hotswap.status import StateView
from manifest.tags import ModelTag, as_version

T = TypeVar("T")


class ModelRouter:
    """Which generation answers a request: found by model and version, and leased."""

    def __init__(self, view: StateView, schedule: Schedule, observer: Observer | None = None) -> None:
        self._view = view
        self._schedule = schedule
        self._observer = observer or Observer()

    def model_name(self, asked: str | None) -> str:
        """The model that is meant; raise `ModelRequired` when none is named and none is default."""
        name = asked or self._view.default
        if name is None:
            raise ModelRequired("several models and no default: name one in the field 'model'")
        return name

    def servable(self, name: str) -> bool:
        """Whether a request for a model is answered, after a load or at once."""
        return self._view.servable(name)

    def lease(self, name: str, version: str | None, key: str | None = None) -> Lease:
        """Borrow the generation that answers for a model, for a key of it, or a certain version of it.

        Raises `ModelNotFound`, `VersionNotFound`, `VersionNotLoaded`, `ModelNotReady`, and `NotSwitched` or
        `NotResident` where waiting for the reconciler helps.
        """
        slot = self._view.slot(name)
        if not self._view.is_current(name):
            raise NotSwitched(name)
        if version is not None:
            version = self._known_version(name, version)
        if slot is not None and (slot.current is not None or slot.behind):
            try:
                return slot.lease(version, key)
            except (ModelNotReady, VersionNotLoaded) as missing:
                # It may have left memory since it was looked at.
                if isinstance(missing, NotSwitched) or not self._is_brought(name, version):
                    raise
                raise NotResident(name) from None
        if self._is_brought(name, version):
            raise NotResident(name)
        if self._wanted(name):
            raise ModelNotReady(self._why_none_serves(name))
        kind = ModelNotLoaded if version is None else VersionNotLoaded
        raise kind(f"{name} is not loaded; GET /models lists what is")

    def lease_instead(self, name: str, failed: Generation) -> Lease | None:
        """Borrow what answered before a version that has failed, or what has come to answer since.

        None where there is nothing but that version.
        """
        slot = self._view.slot(name)
        if slot is None:
            return None
        kept = slot.kept if slot.current is failed else None
        if kept is not None and (lease := kept.borrow_beside()) is not None:
            return lease
        if slot.current in (None, failed) or failed.artifact.config.crop_with is not None:
            return None
        try:
            return slot.lease()
        except (ModelNotReady, VersionNotLoaded):
            return None

    def _is_brought(self, name: str, version: str | None) -> bool:
        """Whether a request brings a version, or that version, into memory, or it has come just now."""
        brought = self._view.version_to_bring(name) or self._view.serving(name)
        return brought is not None and version in (None, brought)

    def _why_none_serves(self, name: str) -> str:
        desired = self._view.desired.model(name)
        version = self._view.resolved(name, desired.target) if desired is not None else None
        failure = self._view.failure(ModelTag(name, version)) if version is not None else None
        if failure is None or failure.settling or self._view.coming(name):
            return f"no version of {name} is serving yet; retry shortly"
        return f"no version of {name} is serving: {name}:{version} failed; GET /models and the log say why"

    def _known_version(self, name: str, asked: str) -> str:
        info, slot = self._view.info(name), self._view.slot(name)
        known = {*(info.versions if info else ()), *(one.tag.version for one in slot or ())}
        if not known and slot is None:
            self._wanted(name)
        version = as_version(asked, known)
        if version not in known:
            raise VersionNotFound(f"there is no version {version[:64]!r} of {name}")
        return version

    def _wanted(self, name: str) -> bool:
        required = self._view.required or ()
        if self._view.info(name) is None and name not in required:
            raise ModelNotFound(f"there is no model {name[:64]!r}; GET /models lists them")
        desired = self._view.desired.model(name)
        if desired is not None and desired.unloaded:
            return False  # also where it is required: waiting does not help
        return name in required or desired is not None

    async def when_current(self, deadline: float, take: Callable[[], T]) -> T:
        """What `take` gives, at once.

        Wait only for a model that is not in memory, and where the other workers went on without this one.

        `deadline` is a moment of `time.monotonic()`. Raises what `take` raises, and `InsufficientMemory` and
        `DeadlineExceeded` for a model that could not be brought into memory in time.
        """
        while True:
            try:
                return take()
            except NotSwitched as behind:
                if not await self._caught_up(behind.model, deadline):
                    raise
            except NotResident as away:
                await self.bring(away.model, deadline)

    async def bring(self, name: str, deadline: float) -> None:
        """Ask for a model that is not in memory, and wait until that has an outcome.

        Raises `InsufficientMemory`, `DeadlineExceeded`; the load goes on for others.
        """
        view, begun = self._view, time.monotonic()
        with self._schedule.request(name):
            has_turned = self._schedule.turn()

            def decided() -> bool:
                if view.version_to_bring(name) is None:
                    return True
                refusal = view.memory_refusal(name)
                return has_turned() and refusal is not None and refusal.hopeless

            await view.wait_until(decided, deadline - time.monotonic())
        notify(self._observer.awaited, name, time.monotonic() - begun)
        if view.version_to_bring(name) is None:
            return
        refusal = view.memory_refusal(name)
        if refusal is not None and not refusal.coming:
            raise InsufficientMemory(refusal.reason)
        raise DeadlineExceeded(f"{name} was not loaded within the request's time; it is still loading")

    async def _caught_up(self, name: str, deadline: float) -> bool:
        """Wait until this worker can answer as the others do; False when it cannot, or not in time."""
        view = self._view
        has_looked = self._schedule.look()

        def answers() -> bool:
            return view.slot(name) is not None and view.is_current(name)

        def in_vain() -> bool:
            # Before a look that began after now it may not even have seen what there is to load.
            return has_looked() and view.cannot_follow(name)

        await view.wait_until(lambda: answers() or in_vain(), deadline - time.monotonic())
        return answers()
