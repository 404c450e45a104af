"""Whose generation answers a request: found by name and version, and lent."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from hotswap.changes import Changes
from hotswap.errors import (
    ModelNotFound,
    ModelNotLoaded,
    ModelNotReady,
    ModelRequired,
    VersionNotFound,
    VersionNotLoaded,
)
from hotswap.generation import Lease
from hotswap.reconciler import Reconciler
from hotswap.slot import NotSwitched
from hotswap.tags import as_version

T = TypeVar("T")


class Lending:
    """Lends what the reconciler has published."""

    def __init__(self, reconciler: Reconciler) -> None:
        self._reconciler = reconciler
        self._changes = Changes(reconciler)

    def model_name(self, asked: str | None) -> str:
        """The model that is meant; raise `ModelRequired` when none is named and none is default."""
        name = asked or self._reconciler.document.default
        if name is None:
            raise ModelRequired("several models and no default: name one in the field 'model'")
        return name

    def lease(self, name: str, version: str | None) -> Lease:
        """Borrow the generation that answers for a model, or a certain version of it.

        Raises `ModelNotFound`, `VersionNotFound`, `VersionNotLoaded`, `ModelNotReady`, and `NotSwitched`
        where waiting for the reconciler helps.
        """
        slot = self._reconciler.slots.get(name)
        if not self._reconciler.in_step(name):
            raise NotSwitched(f"this worker still loads what {name} has switched to; try again shortly")
        if version is not None:
            version = self._known_version(name, version)
        if slot is not None and slot.current is not None:
            return slot.lease(version)
        if self._wanted(name):
            raise ModelNotReady(f"no version of {name} serves yet; try again shortly")
        kind = ModelNotLoaded if version is None else VersionNotLoaded
        raise kind(f"{name} is not served here; GET /models tells what is")

    def _known_version(self, name: str, asked: str) -> str:
        sight = self._reconciler.sights.get(name)
        slot = self._reconciler.slots.get(name)
        known = {*(sight.versions if sight else ()), *(each.tag.version for each in slot or ())}
        if not known and slot is None:
            self._wanted(name)
        version = as_version(asked, known)
        if version not in known:
            raise VersionNotFound(f"there is no version {version[:64]!r} of {name}")
        return version

    def _wanted(self, name: str) -> bool:
        document = self._reconciler.document
        required = document.required or ()
        if name not in self._reconciler.sights and name not in required:
            raise ModelNotFound(f"there is no model {name[:64]!r}; GET /models lists them")
        wish = document.wish(name)
        return name in required or (wish is not None and not wish.unloaded)

    async def switched(self, name: str, deadline: float, take: Callable[[], T]) -> T:
        """What `take` gives, at once; wait only where the other workers went on without this one.

        `deadline` is a moment of `time.monotonic()`. Raises what `take` raises.
        """
        while True:
            try:
                return take()
            except NotSwitched:
                if not await self._caught_up(name, deadline):
                    raise

    async def _caught_up(self, name: str, deadline: float) -> bool:
        """Wait until this worker answers as the others do; False when it cannot, or not in time."""
        reconciler = self._reconciler

        def switched() -> bool:
            slot = reconciler.slots.get(name)
            return slot is not None and slot.catch_up()

        def in_vain() -> bool:
            # Before a look that began after now it may not even have seen what there is to load.
            return reconciler.steps >= needed and reconciler.cannot_follow(name)

        needed = reconciler.begun + 1
        reconciler.wake()
        await self._changes.until(lambda: switched() or in_vain(), deadline - time.monotonic())
        return switched()
