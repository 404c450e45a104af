"""Models that are on their way: waiting until one can be asked."""

from __future__ import annotations

import time

from hotswap.admission import Admission
from hotswap.changes import Changes
from hotswap.dataplane import DataPlane
from hotswap.errors import DeadlineExceeded, ModelNotReady, VersionNotLoaded
from hotswap.reconciler import Reconciler
from hotswap.slot import NotSwitched
from hotswap.tags import as_version


class Arriving:
    """Lets callers wait for a model. No more of them wait than the service admits requests."""

    def __init__(self, data_plane: DataPlane, reconciler: Reconciler) -> None:
        self._data_plane = data_plane
        self._reconciler = reconciler
        self._changes = Changes(reconciler)
        self._room = Admission(data_plane.admission.capacity)

    @property
    def waiting(self) -> int:
        """How many wait."""
        return self._room.inside

    def serves(self, model: str | None, version: str | None) -> bool:
        """Whether it can be asked now; False: not yet, it is on its way.

        Raises what `DataPlane.predict` says of models and versions, where waiting does not help.
        """
        name = self._data_plane.lending.model_name(model)
        try:
            self._data_plane.lending.lease(name, version).release()
        except NotSwitched:
            self._reconciler.wake()
        except ModelNotReady:
            if not self._coming(name):
                raise
        except VersionNotLoaded:
            if version is None or not self._loads(name, version):
                raise
        else:
            return True
        return False

    async def wait(self, model: str | None, version: str | None, deadline: float) -> None:
        """Return when it can be asked.

        Raises what `serves` raises, `DeadlineExceeded`, and `Overloaded` when too many wait already.
        """
        permit = self._room.enter()
        try:
            seconds = deadline - time.monotonic()
            if not await self._changes.until(lambda: self.serves(model, version), seconds):
                raise DeadlineExceeded("the model does not serve within the request's time; try again later")
        finally:
            permit.release()

    def _coming(self, name: str) -> bool:
        """Whether a version is being brought, is copied in, or may be planned by the look under way."""
        reconciler, slot = self._reconciler, self._reconciler.slots.get(name)
        settling = (tag for tag, why in list(reconciler.backoff.failures.items()) if why.settling)
        tags = (*list(reconciler.loading), *settling)
        prepared = slot is not None and slot.prepared is not None
        looks = reconciler.begun != reconciler.steps
        return prepared or looks or any(tag.name == name for tag in tags)

    def _loads(self, name: str, asked: str) -> bool:
        """Whether that very version is being brought."""
        slot = self._reconciler.slots.get(name)
        tags = list(self._reconciler.loading)
        if slot is not None and (prepared := slot.prepared) is not None:
            tags.append(prepared.tag)
        versions = {tag.version for tag in tags if tag.name == name}
        return as_version(asked, versions) in versions
