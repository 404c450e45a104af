"""The table of residency that the workers of a service share: the resident set, and the use of each model."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Protocol

from residency.planner import ResidentSet, Use, mark_of

Change = Callable[[ResidentSet], ResidentSet]


class ModelUse(Protocol):
    """What one worker reports of one model. Called under the lock of the generation that answers."""

    def opened(self) -> None:
        """A version has come to answer just now."""
        ...

    def borrowed(self, leases: int) -> None:
        """The version that answers was borrowed just now, and has so many users here."""
        ...

    def returned(self, leases: int) -> None:
        """The version that answers has so many users here."""
        ...

    def awaited(self, requests: int) -> None:
        """So many requests wait here for the model to be loaded. Called by any thread, one at a time."""
        ...

    def holds(self, versions: Collection[str]) -> None:
        """These versions load here, or are in memory."""
        ...


class ResidencyTable(Protocol):
    """Each worker has its own view of it. `edit` may raise `OSError`: then nothing has changed."""

    def residents(self) -> ResidentSet:
        """The resident set as it is now. Any thread may ask, at every request."""
        ...

    def edit(self, change: Change) -> ResidentSet:
        """Replace the set by what `change` makes of it, as one step; all workers look again soon."""
        ...

    def use(self, name: str) -> ModelUse:
        """Where this worker reports its use of a model."""
        ...

    def uses(self, names: Iterable[str]) -> Mapping[str, Use]:
        """The use of models in all living workers."""
        ...

    def report_base(self, count: int, least: int) -> None:
        """Say how many bytes this worker takes beside its models, now and at the least."""
        ...

    def base(self) -> tuple[int, int]:
        """What all workers take beside their models, now and at the least."""
        ...


class LocalUse:
    """The use of a model by the only worker."""

    def __init__(self) -> None:
        self.last_used = self.opened_at = 0.0
        self.leases = self.waiting = 0
        self.held: frozenset[int] = frozenset()

    def opened(self) -> None:
        """See `ModelUse`."""
        self.opened_at = time.monotonic()
        self.leases = 0

    def borrowed(self, leases: int) -> None:
        """See `ModelUse`."""
        self.last_used = time.monotonic()
        self.leases = leases

    def returned(self, leases: int) -> None:
        """See `ModelUse`."""
        self.leases = leases

    def awaited(self, requests: int) -> None:
        """See `ModelUse`."""
        self.waiting = requests

    def holds(self, versions: Collection[str]) -> None:
        """See `ModelUse`."""
        self.held = frozenset(map(mark_of, versions))


class LocalTable:
    """The table of a single worker, in memory."""

    def __init__(self) -> None:
        self._residents = ResidentSet()
        self._uses: dict[str, LocalUse] = {}
        self._base = (0, 0)
        self._lock = threading.Lock()

    def residents(self) -> ResidentSet:
        """See `ResidencyTable`."""
        return self._residents

    def edit(self, change: Change) -> ResidentSet:
        """See `ResidencyTable`."""
        with self._lock:
            self._residents = change(self._residents)
            return self._residents

    def use(self, name: str) -> LocalUse:
        """See `ResidencyTable`."""
        return self._uses.setdefault(name, LocalUse())

    def uses(self, names: Iterable[str]) -> Mapping[str, Use]:
        """See `ResidencyTable`."""
        return {name: self._seen(name) for name in names}

    def _seen(self, name: str) -> Use:
        use = self.use(name)
        return Use(use.last_used, use.opened_at, use.leases, (use.held,), use.waiting)

    def report_base(self, count: int, least: int) -> None:
        """See `ResidencyTable`."""
        self._base = (count, least)

    def base(self) -> tuple[int, int]:
        """See `ResidencyTable`."""
        return self._base
