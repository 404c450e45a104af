"""Management of models: change a target, load, unload, reload, and wait for the result."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from hotswap.desired import (
    CanaryTarget,
    DesiredModel,
    DesiredState,
    DesiredStore,
    Edit,
    put_back,
    set_canary,
    set_loaded,
    set_target,
)
from hotswap.errors import (
    BadRequest,
    Conflict,
    InsufficientMemory,
    ModelNotFound,
    StateUnavailable,
    Superseded,
    VersionFailed,
    VersionNotFound,
)
from hotswap.repository import ModelInfo, ModelRepository, resolve
from hotswap.schedule import Schedule
from hotswap.status import StateView
from hotswap.version_status import CanaryStatus
from manifest.tags import LATEST, BadTag, ModelTag, alias_of, as_target, as_version


def check_not_superseded(name: str, made: DesiredModel, now: DesiredModel | None) -> None:
    """Raise `Superseded` if `now`, the state read last, is later than `made` and differs from it.

    A later edit with the same target supersedes nothing.
    """
    if now is None or now.revision <= made.revision:
        return
    if (now.target, now.unloaded, now.canary) != (made.target, made.unloaded, made.canary):
        raise Superseded(f"{_made_change(name, made)} was superseded: {_later_change(name, now)}")


def _made_change(name: str, model: DesiredModel) -> str:
    return f"unloading {name}" if model.unloaded else f"{name}:{model.target}"


def _later_change(name: str, now: DesiredModel) -> str:
    change = "wants it unloaded" if now.unloaded else f"wants {name}:{now.target}"
    reason = f" ({now.reason})" if now.reason else ""
    return f"since revision {now.revision} {now.actor or 'somebody'} {change}{reason}"


@dataclass(frozen=True, slots=True)
class TargetChange:
    """Make `name` follow `target`, if `expected_current` (where given) is what serves."""

    name: str
    target: str
    actor: str
    expected_current: str | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class CanaryChange:
    """Let `version` of `name` answer a `share` of the requests, 0..1 exclusively, beside the target."""

    name: str
    version: str
    share: float
    actor: str
    reason: str | None = None


class Control:
    """The management side of one process; the data plane is its other side."""

    def __init__(
        self,
        view: StateView,
        schedule: Schedule,
        desired: DesiredStore,
        source: ModelRepository,
        notify_others: Callable[[], object] = lambda: None,
    ) -> None:
        """`notify_others` asks the other workers of the service to look again."""
        self._view = view
        self._schedule = schedule
        self._notify_others = notify_others
        self._desired = desired
        self._source = source

    async def set_target(self, change: TargetChange, seconds: float) -> bool:
        """Change a target; True when its version serves, False when that takes longer.

        Raises `ModelNotFound`, `VersionNotFound`, `BadRequest`, `Conflict` (nothing was changed),
        `VersionFailed` and `InsufficientMemory` (the desired state is put back, unless somebody changed it
        since) and `Superseded` (a later change wants something else).
        """
        target = await asyncio.to_thread(self._checked_target, change)
        edit = set_target(change.name, target, change.actor, change.reason)
        before, after = await asyncio.to_thread(self._edit, change.name, edit, lambda: self._expect(change))
        return await self._bring(change.name, before, after, seconds)

    async def set_canary(self, change: CanaryChange, seconds: float) -> bool:
        """Let a version answer a share of the requests; True when it does, False when that takes longer.

        Raises `ModelNotFound`, `VersionNotFound`, `Conflict` (nothing was changed), `VersionFailed` and
        `InsufficientMemory` (it is put back, unless somebody changed it since) and `Superseded`.
        """
        await asyncio.to_thread(self._check_canary, change)
        canary = CanaryTarget(version=change.version, share=change.share)
        edit = set_canary(change.name, canary, change.actor, change.reason)
        before, after = await asyncio.to_thread(self._edit, change.name, edit)
        return await self._bring_canary(change, before, after.models[change.name], seconds)

    async def end_canary(self, name: str, actor: str, reason: str | None, seconds: float) -> bool:
        """Let the target of a model answer alone; True when it does. Raises `ModelNotFound`, `Superseded`."""
        await asyncio.to_thread(self._info, name)
        _, after = await asyncio.to_thread(self._edit, name, set_canary(name, None, actor, reason))
        model, looked = after.models.get(name), self._schedule.look()
        if model is None:
            return True  # nobody has ever wanted it
        return await self._wait_for(model, name, looked, lambda: self._view.canary(name) is None, seconds)

    async def _bring_canary(
        self, change: CanaryChange, before: DesiredModel | None, model: DesiredModel, seconds: float
    ) -> bool:
        name, tag = change.name, ModelTag(change.name, change.version)
        looked = self._schedule.retry(tag)
        wanted = CanaryStatus(change.version, change.share)

        def failure() -> str | None:
            found = self._view.failure(tag)
            return None if found is None or found.settling else found.reason

        def decided() -> bool:
            return self._view.canary(name) == wanted or failure() is not None

        with self._schedule.demand(name):
            await self._wait_for(model, name, looked, decided, seconds)
        if self._view.canary(name) == wanted:
            return True
        reason = failure() if looked() else None
        if reason is None:
            return False
        try:
            await asyncio.to_thread(self._desired.edit, put_back(name, before, model.revision))
        except OSError as error:
            raise StateUnavailable(
                f"{tag} was refused: {reason}; it is still wanted, as the state cannot be written: {error}"
            ) from None
        await self._seen()
        raise VersionFailed(f"{tag} was refused: {reason}; the target answers alone")

    def _check_canary(self, change: CanaryChange) -> None:
        info = self._info(change.name)
        versions = info.versions if info else {}
        if change.version not in versions:
            raise VersionNotFound(f"there is no version {change.version} of {change.name}")
        model = self._desired.read().model(change.name) or DesiredModel()
        if model.unloaded:
            raise Conflict(f"{change.name} is unloaded: no version answers beside which one could be tried")
        if resolve(model.target, info or ModelInfo(change.name, None, {})).version == change.version:
            raise Conflict(
                f"{change.version} is what the target {model.target} of {change.name} means: it answers "
                "alone; set the target to another version first"
            )

    async def load(self, name: str, actor: str, seconds: float) -> bool:
        """Serve what the target of a model means, also after `unload` or a failure; as `set_target` does.

        Raises `ModelNotFound`, `Superseded` and `VersionFailed`, also where the target means no version.
        """
        await asyncio.to_thread(self._check_loadable, name)
        before, after = await asyncio.to_thread(self._edit, name, set_loaded(name, True, actor, "load"))
        return await self._bring(name, before, after, seconds)

    async def unload(self, name: str, actor: str, seconds: float) -> bool:
        """Serve no version of a model until it is loaded or its target is set; True when none serves.

        Requests that hold a lease are answered. Raises `ModelNotFound`, `Superseded`.
        """
        await asyncio.to_thread(self._info, name)
        _, after = await asyncio.to_thread(self._edit, name, set_loaded(name, False, actor, "unload"))
        model, looked = after.models[name], self._schedule.look()
        return await self._wait_for(model, name, looked, lambda: self._serves_nothing(name), seconds)

    def _serves_nothing(self, name: str) -> bool:
        return self._view.is_current(name) and self._view.serving(name) is None

    async def _wait_for(
        self,
        model: DesiredModel,
        name: str,
        looked: Callable[[], bool],
        done: Callable[[], bool],
        seconds: float,
    ) -> bool:
        """Wait until a look has seen the edit and it is `done`; False when that takes longer.

        Raises `Superseded` when another edit holds, so that it never will be.
        """

        def holds() -> bool:
            if looked() and not done():
                check_not_superseded(name, model, self._view.desired.models.get(name))
            return looked() and done()

        return await self._view.wait_until(holds, seconds)

    async def _bring(
        self, name: str, before: DesiredModel | None, after: DesiredState, seconds: float
    ) -> bool:
        """Wait for the result of an edit."""
        model = after.models[name]
        target, revision = model.target, model.revision
        resolved = self._view.resolved(name, target)
        looked = self._schedule.retry(ModelTag(name, resolved) if resolved else None)
        # It is loaded now, also if it is not in memory and nobody else asks for it.
        with self._schedule.demand(name):
            await self._wait_for(model, name, looked, lambda: self._decided(name, target, revision), seconds)
        if self._serves(name, target):
            return True
        # Without a look that began after the edit, a failure is that of an earlier try.
        failure = self._failure(name, target, revision) if looked() else None
        if failure is None:
            return False
        kind = InsufficientMemory if self._memory_refusal(name) is not None else VersionFailed
        try:
            back = await asyncio.to_thread(self._desired.edit, put_back(name, before, revision))
        except OSError as error:
            raise StateUnavailable(
                f"{name}:{target} was refused: {failure}; it is still the target, "
                f"as the state cannot be written: {error}"
            ) from None
        await self._seen()
        raise kind(f"{name}:{target} was refused: {failure}; the target is {_target(back, name)}")

    async def reload(self) -> None:
        """Look again now and clear every back-off, in all workers; returns after this worker's look.

        Raises `StateUnavailable` when the others cannot be notified.
        """
        try:
            await asyncio.to_thread(self._notify_others)
        except OSError as error:
            raise StateUnavailable(f"the other workers cannot be notified: {error}") from None
        await self._view.wait_until(self._schedule.retry(None), seconds=5.0)

    async def fresh(self) -> None:
        """Take in changes made through another worker, before the state is shown."""
        try:
            async with asyncio.timeout(1.0):
                document = await asyncio.to_thread(self._desired.read)
        except (StateUnavailable, TimeoutError):
            return  # the reconciler reports it; the last state is better than no answer
        if document != self._view.desired:
            await self._seen()

    async def _seen(self) -> None:
        """Wait for a look that begins now, so that a target that was put back is not shown."""
        await self._view.wait_until(self._schedule.look(), seconds=5.0)

    def _info(self, name: str) -> ModelInfo | None:
        """What the store holds of a known model now; raise `ModelNotFound` for another."""
        models = self._source.look()
        if models is None:
            models = self._view.infos()
        info = models.get(name)
        if info is None and not self._view.known(name):
            raise ModelNotFound(f"there is no model {name[:64]!r}; GET /models lists them")
        return info

    def _check_loadable(self, name: str) -> None:
        info = self._info(name)
        model = self._desired.read().model(name) or DesiredModel()
        resolved = resolve(model.target, info)
        if resolved.version is None:
            raise VersionFailed(
                f"{name}:{model.target} cannot be loaded: {resolved.reason or 'no such version'}"
            )

    def _checked_target(self, change: TargetChange) -> str:
        info = self._info(change.name)
        versions = info.versions if info else {}
        try:
            target = as_target(change.target, versions)
        except BadTag as error:
            raise BadRequest(str(error)) from None
        found = resolve(target, info or ModelInfo(change.name, None, {}))
        if alias_of(target) is not None and found.version is None:
            raise VersionNotFound(found.reason or f"nothing is named by {target}")
        if target != LATEST and alias_of(target) is None and target not in versions:
            raise VersionNotFound(f"there is no version {target} of {change.name}")
        return target

    def _edit(
        self, name: str, edit: Edit, check: Callable[[], None] = lambda: None
    ) -> tuple[DesiredModel | None, DesiredState]:
        """Apply `edit` if `check` agrees; the model before it, and the document after it."""
        before: list[DesiredModel | None] = []

        def change(document: DesiredState) -> DesiredState:
            check()
            before.append(document.models.get(name))
            return edit(document)

        try:
            after = self._desired.edit(change)
        except OSError as error:
            raise StateUnavailable(f"nothing was changed: the state cannot be written: {error}") from None
        return before[-1], after

    def _expect(self, change: TargetChange) -> None:
        # What is not in memory answers when it is asked.
        serving = self._view.serving(change.name) or self._view.version_to_bring(change.name)
        if change.expected_current is None:
            return
        if as_version(change.expected_current, (serving,) if serving else ()) != serving:
            raise Conflict(
                f"{change.name} is served by {serving}, not by {change.expected_current}; nothing was changed"
            )

    def _decided(self, name: str, target: str, revision: int) -> bool:
        return self._serves(name, target) or self._failure(name, target, revision) is not None

    def _serves(self, name: str, target: str) -> bool:
        wanted = self._view.resolved(name, target)
        return wanted is not None and self._view.serving(name) == wanted

    def _failure(self, name: str, target: str, revision: int) -> str | None:
        """Why this worker, or another, cannot serve it."""
        wanted = self._view.resolved(name, target)
        if wanted is None:
            return None
        failure = self._view.failure(ModelTag(name, wanted))
        if failure is not None and not failure.settling:
            return failure.reason
        with suppress(OSError):
            refusals = "; ".join(self._view.refusals(name, wanted, revision))
            return refusals or self._memory_refusal(name)
        return None

    def _memory_refusal(self, name: str) -> str | None:
        """Why the memory has no room for a model, where waiting does not help."""
        refusal = self._view.memory_refusal(name)
        return refusal.reason if refusal is not None and refusal.hopeless else None


def _target(document: DesiredState, name: str) -> str:
    model = document.model(name)
    return model.target if model is not None else "none: the model is not wanted"
