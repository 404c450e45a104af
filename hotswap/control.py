"""Management calls: each edits the desired state, wakes the reconciler and waits for what comes of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from hotswap import status
from hotswap.desired import Desired, DesiredStore, Wish, put_back, set_target
from hotswap.errors import (
    BadRequest,
    Conflict,
    ModelNotFound,
    StateUnavailable,
    VersionFailed,
    VersionNotFound,
)
from hotswap.reconciler import Reconciler
from hotswap.source import Source, resolve
from hotswap.tags import LATEST, BadTag, ModelTag, as_version, check_word


@dataclass(frozen=True, slots=True)
class TargetChange:
    """Make `name` follow `target`, if `expected_current` (where given) is what serves."""

    name: str
    target: str
    actor: str
    expected_current: str | None = None
    reason: str | None = None


class Changes:
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


class Control:
    """The management side of one process; the data plane is its other side."""

    def __init__(self, reconciler: Reconciler, desired: DesiredStore, source: Source) -> None:
        self._reconciler = reconciler
        self._desired = desired
        self._source = source
        self.changes = Changes(reconciler)

    async def set_target(self, change: TargetChange, seconds: float) -> bool:
        """Change a target; True when its version serves, False when that takes longer.

        Raises `ModelNotFound`, `VersionNotFound`, `BadRequest`, `Conflict` (nothing was changed) and
        `VersionFailed` (the desired state is put back, unless somebody changed it since).
        """
        target = await asyncio.to_thread(self._checked_target, change)
        before, after = await asyncio.to_thread(self._edit, change, target)
        name, revision = change.name, after.models[change.name].revision
        resolved = resolve(target, self._reconciler.sights.get(name)).version
        looked = self._look_again(ModelTag(name, resolved) if resolved else None)
        await self.changes.until(lambda: looked() and self._decided(name, target), seconds)
        if self._serves(name, target):
            return True
        # Without a look that began after the edit, a failure is that of an earlier try.
        failure = self._failure(name, target) if looked() else None
        if failure is None:
            return False
        back = await asyncio.to_thread(self._desired.edit, put_back(name, before, revision))
        await self._seen()
        raise VersionFailed(f"{name}:{target} was refused: {failure}; the target is {_target(back, name)}")

    async def reload(self) -> None:
        """Look again now and clear every back-off; returns after that look."""
        await self.changes.until(self._look_again(None), seconds=5.0)

    async def _seen(self) -> None:
        """Wait for a look that begins now, so that nobody is told a target that was put back."""
        needed = self._reconciler.begun + 1
        self._reconciler.wake()
        await self.changes.until(lambda: self._reconciler.steps >= needed, seconds=5.0)

    def _look_again(self, tag: ModelTag | None) -> Callable[[], bool]:
        """Ask for a look; the result tells whether one that *began* after now has ended."""
        needed = self._reconciler.retry(tag)
        return lambda: self._reconciler.steps >= needed

    def _checked_target(self, change: TargetChange) -> str:
        sights = self._source.look()
        if sights is None:
            sights = self._reconciler.sights
        sight = sights.get(change.name)
        if sight is None and not status.known(self._reconciler, change.name):
            raise ModelNotFound(f"there is no model {change.name!r}; GET /models lists them")
        if change.target.strip().lower() == LATEST:
            return LATEST
        versions = sight.versions if sight else {}
        target = self._word(as_version(change.target, versions))
        if target not in versions:
            raise VersionNotFound(f"there is no version {target} of {change.name}")
        return target

    @staticmethod
    def _word(target: str) -> str:
        try:
            return check_word("target", target)
        except BadTag as error:
            raise BadRequest(f"{error}; or {LATEST!r}") from None

    def _edit(self, change: TargetChange, target: str) -> tuple[Wish | None, Desired]:
        before: list[Wish | None] = []

        def edit(document: Desired) -> Desired:
            self._expect(change)
            before.append(document.models.get(change.name))
            return set_target(change.name, target, change.actor, change.reason)(document)

        try:
            after = self._desired.edit(edit)
        except OSError as error:
            raise StateUnavailable(f"nothing was changed: the state cannot be written: {error}") from None
        return before[-1], after

    def _expect(self, change: TargetChange) -> None:
        serving = status.model(self._reconciler, change.name).serving
        if change.expected_current is None:
            return
        if as_version(change.expected_current, (serving,) if serving else ()) != serving:
            raise Conflict(
                f"{change.name} is served by {serving}, not by {change.expected_current}; nothing was changed"
            )

    def _decided(self, name: str, target: str) -> bool:
        return self._serves(name, target) or self._failure(name, target) is not None

    def _serves(self, name: str, target: str) -> bool:
        wanted = resolve(target, self._reconciler.sights.get(name)).version
        return wanted is not None and status.model(self._reconciler, name).serving == wanted

    def _failure(self, name: str, target: str) -> str | None:
        wanted = resolve(target, self._reconciler.sights.get(name)).version
        if wanted is None:
            return None
        failure = status.failure_of(self._reconciler, ModelTag(name, wanted))
        return failure.reason if failure is not None and not failure.settling else None


def _target(document: Desired, name: str) -> str:
    wish = document.wish(name)
    return wish.target if wish is not None else "none: the model is not wanted"
