"""One loaded version in a slot, from loading to closing, and the lease by which a request borrows it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from enum import StrEnum
from types import TracebackType
from typing import TYPE_CHECKING

from hotswap.repository import Artifact
from hotswap.runner import Placement, Runner
from manifest.tags import ModelTag
from residency.table import LocalUse, ModelUse

if TYPE_CHECKING:
    from hotswap.guard import Watch


class State(StrEnum):
    """The lifecycle: loading → warming → checking → prepared → serving → draining → closed, or failed.

    Between serving and draining a version may be kept for a while, ready to serve again.
    """

    LOADING = "loading"
    WARMING = "warming"
    CHECKING = "checking"
    PREPARED = "prepared"
    SERVING = "serving"
    KEPT = "kept"
    DRAINING = "draining"
    CLOSED = "closed"
    FAILED = "failed"


class Generation:
    """A runner and the count of its users. It is closed only when there are none.

    `on_drained` is called once, by the thread that returns the last lease after `retire`.
    """

    def __init__(self, artifact: Artifact, runner: Runner, on_drained: Callable[[Generation], None]) -> None:
        self.artifact = artifact
        self.number = 0
        self.state = State.CHECKING
        self._runner: Runner | None = runner
        self._on_drained = on_drained
        self._leases = 0
        #: Who looks at what it answers, for a while after it came to serve.
        self.watch: Watch | None = None
        #: Whether its files had answered before it was loaded: who goes back to them means it.
        self.has_answered = False
        self._use: ModelUse = LocalUse()
        self._lock = threading.Lock()

    @property
    def tag(self) -> ModelTag:
        """Name and version."""
        return self.artifact.tag

    @property
    def leases(self) -> int:
        """How many requests use it now."""
        return self._leases

    @property
    def runner(self) -> Runner:
        """The loaded model; only for those who hold a lease."""
        if self._runner is None:
            raise RuntimeError(f"{self.tag} is closed")
        return self._runner

    @property
    def placement(self) -> Placement | None:
        """Where it runs; None after its end."""
        runner = self._runner
        return runner.placement if runner is not None else None

    def open(self, number: int, use: ModelUse | None = None) -> None:
        """From now on it can be borrowed, as generation `number` of its model, and reports its `use`."""
        with self._lock:
            self.number = number
            self.state = State.SERVING
            self._use = use or self._use
            self._use.opened()

    def borrow(self) -> bool:
        """Count one user more; False when it no longer serves."""
        with self._lock:
            if self.state is not State.SERVING:
                return False
            self._leases += 1
            self._use.borrowed(self._leases)
            return True

    def borrow_beside(self) -> Lease | None:
        """A lease to ask it beside another one, also where it is kept; None when it does neither."""
        with self._lock:
            if self.state not in (State.SERVING, State.KEPT):
                return None
            self._leases += 1
            if self.state is State.SERVING:
                self._use.borrowed(self._leases)
        return Lease(self)

    def give_back(self) -> None:
        """Count one user less."""
        with self._lock:
            self._leases -= 1
            if self.state is State.SERVING:  # else the next version reports its own
                self._use.returned(self._leases)
            drained = self.state is State.DRAINING and self._leases == 0
        if drained:
            self._on_drained(self)

    def keep(self) -> None:
        """End borrowing, and stay in memory: `open` lets it serve again, `retire` lets it go."""
        with self._lock:
            if self.state is State.SERVING:
                self.state = State.KEPT

    def retire(self) -> None:
        """End borrowing; those who borrowed it may finish."""
        with self._lock:
            if self.state not in (State.SERVING, State.KEPT):
                return
            self.state = State.DRAINING
            drained = self._leases == 0
        if drained:
            self._on_drained(self)

    def close(self) -> None:
        """Free the runner. Raises RuntimeError while anybody still uses it; a second call does nothing."""
        with self._lock:
            if self._leases:
                raise RuntimeError(f"{self.tag} has {self._leases} leases")
            runner, self._runner = self._runner, None
            self.state = State.CLOSED
        if runner is not None:
            runner.close()


class Lease:
    """A request's claim on one generation. It ends once, however often `release` is called."""

    __slots__ = ("_open", "generation")

    def __init__(self, generation: Generation) -> None:
        self.generation = generation
        self._open = True

    def release(self) -> None:
        """Give the generation back."""
        if self._open:
            self._open = False
            self.generation.give_back()

    def __enter__(self) -> Generation:
        return self.generation

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release()


#: Whether the version before is to stay in memory for a while: of what answered, and of what answers now.
Keeps = Callable[[Generation, Generation], bool]


def keeps_none(_before: Generation, _after: Generation) -> bool:
    """Nothing stays in memory once another version answers."""
    return False
