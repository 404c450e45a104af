"""One process of the service without its wires: a reconciler and all that it moves, turned by the test."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from hotswap.admission import Admission
from hotswap.control import Control
from hotswap.coordination import Coordinator
from hotswap.dataplane import DataPlane
from hotswap.desired import DesiredStore, set_target
from hotswap.gate import Check, Gate
from hotswap.guard import Guard
from hotswap.predictions import Picture, PredictRequest
from hotswap.reconciler import Reconciler
from hotswap.resident_models import MemoryRules
from hotswap.threads import InferencePool, LoaderThreads, ReconcilerThread
from manifest.profiles import ModelProfile
from residency.table import ResidencyTable
from tests.hotswap.fake_models import FakeLoader
from tests.hotswap.fakes import FakeClock, FakeObserver, FakeSource, StepBackground
from tests.support.desired_memory import DesiredMemory


def asked(model: str | None = "m", version: str | None = None, seconds: float = 30.0) -> PredictRequest:
    """A request for one picture, due in `seconds`."""
    deadline = time.monotonic() + seconds
    pictures = (Picture(encoded=b"picture"),)
    return PredictRequest(request_id="r", pictures=pictures, deadline=deadline, model=model, version=version)


class World:
    """Everything stands still until `step`, `background.run` or `settle` is called."""

    def __init__(
        self,
        *tags: str,
        store: DesiredStore | None = None,
        source: FakeSource | None = None,
        coordinator: Coordinator | None = None,
        checks: Sequence[Check] = (),
        table: ResidencyTable | None = None,
        memory: MemoryRules | None = None,
        profiles: Mapping[str, ModelProfile] | None = None,
        gate: Gate | None = None,
        guard: Guard | None = None,
    ) -> None:
        self.source = source or FakeSource()
        for tag in tags:
            self.source.add(tag)
        self.loader = FakeLoader()
        self.background = StepBackground()
        self.store = store or DesiredMemory()
        self.clock = FakeClock()
        self.observer = FakeObserver()
        self.reconciler = Reconciler(
            self.source,
            self.store,
            self.loader,
            self.background,
            observer=self.observer,
            coordinator=coordinator,
            gate=gate or Gate(checks),
            guard=guard,
            table=table,
            memory=memory,
            clock=self.clock,
            profiles=lambda: profiles or {},
        )

    def step(self) -> None:
        """One turn of the reconciler."""
        self.reconciler.step()

    def settle(self) -> None:
        """Turn until nothing more happens by itself."""
        for _ in range(20):
            self.step()
            self.background.run_all()
            if self.reconciler.view.idle:
                return
        raise AssertionError("it never comes to rest")

    def aim(self, name: str, target: str) -> None:
        """Edit the desired state, as a management call does."""
        self.store.edit(set_target(name, target, "test", None))

    def swap(self, name: str, target: str) -> None:
        """Aim and come to rest."""
        self.aim(name, target)
        self.settle()

    def serving(self, name: str = "m") -> str | None:
        """The version that answers."""
        slot = self.reconciler.observed.slots.get(name)
        return slot.current.tag.version if slot and slot.current else None

    def number(self, name: str = "m") -> int:
        """The number of the generation that answers."""
        current = self.reconciler.observed.slots[name].current
        assert current is not None
        return current.number


class LiveWorld(World):
    """A world that turns by itself, in the threads that the service has."""

    def __init__(self, *tags: str, capacity: int = 100, threads: int = 4, **shared: Any) -> None:
        super().__init__(*tags, **shared)
        self.loading = LoaderThreads(niceness=0)
        self.reconciler = Reconciler(
            self.source,
            self.store,
            self.loader,
            self.loading,
            observer=self.observer,
            coordinator=shared.get("coordinator"),
            gate=shared.get("gate") or Gate(shared.get("checks", ())),
            guard=shared.get("guard"),
            table=shared.get("table"),
            memory=shared.get("memory"),
            clock=self.clock,
        )
        # Only a call of `wake` makes it look: a forgotten one shows as a test that hangs.
        self.turning = ReconcilerThread(self.reconciler, interval=60.0)
        self.control = Control(self.reconciler.view, self.reconciler.schedule, self.store, self.source)
        self.pool = InferencePool(threads)
        self.data_plane = DataPlane(
            self.reconciler.view, self.reconciler.schedule, Admission(capacity), self.pool
        )


@contextmanager
def live(
    *tags: str, codes: Mapping[str, int] | None = None, threads: int = 4, **shared: Any
) -> Iterator[LiveWorld]:
    """A world that turns by itself; all its threads have ended afterwards.

    `shared` is what it shares with other workers: `store`, `source`, `commits`.
    """
    world = LiveWorld(*tags, threads=threads, **shared)
    world.loader.codes.update(codes or {})
    world.turning.start()
    try:
        yield world
    finally:
        world.turning.stop(5.0)
        assert world.pool.close(5.0)
        world.loading.close(5.0)
    assert world.loader.misused == []
