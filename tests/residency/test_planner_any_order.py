"""Several workers with too little memory, in any order: it is never exceeded, and nobody waits for ever."""

from __future__ import annotations

import gc
import tempfile
from contextlib import ExitStack
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from hotswap.errors import ModelNotReady, VersionFailed
from hotswap.generation import Lease
from tests.e2e.sizes import SIZES
from tests.hotswap.fake_models import FakeRunner
from tests.hotswap.many_models import room_for
from tests.hotswap.workers import PLACES, Killed, Workers, kill

NAMES = ("a", "b", "c", "d")
ROOM = 2
NAME = st.sampled_from(NAMES)
WORKER = st.integers(0, 1)


class AnyOrder(RuleBasedStateMachine):
    """Two workers with room for two models of four; each may be stopped for a while, or die at any step."""

    @initialize()
    def begin(self) -> None:
        """Two are in memory."""
        gc.freeze()
        self.folder = tempfile.TemporaryDirectory()
        tags = [f"{name}:v1" for name in NAMES]
        self.workers = Workers(Path(self.folder.name), 2, *tags, memory=room_for(ROOM, workers=2))
        self.workers.settle()
        self.leases: list[Lease] = []
        self.demands = [ExitStack() for _ in range(2)]
        self.stopped: set[int] = set()
        self.bad = False

    @rule(name=NAME)
    def a_version_comes(self, name: str) -> None:
        """It becomes the newest of its model."""
        self.workers.source.add(f"{name}:v2", "sha256:2")

    @rule(worker=WORKER, bad=st.booleans())
    def loads_fail_or_work_in_one_worker(self, worker: int, bad: bool) -> None:
        """Its disk is ill, say."""
        fails = {"load": VersionFailed("no disk")} if bad else {}
        self.workers.worlds[worker].loader.fails.update({"v1": dict(fails), "v2": dict(fails)})

    @rule(worker=WORKER)
    def a_worker_turns(self, worker: int) -> None:
        """One step, unless it is stopped."""
        if worker not in self.stopped:
            try:
                self.workers.worlds[worker].step()
            except Killed:
                self._successor(worker)

    @rule(worker=WORKER)
    def a_loader_works(self, worker: int) -> None:
        """One task, unless it is stopped."""
        background = self.workers.worlds[worker].background
        if worker not in self.stopped and background.tasks:
            background.run()

    @rule(worker=WORKER, place=st.sampled_from(PLACES))
    def a_worker_will_die(self, worker: int, place: str) -> None:
        """When it comes there."""
        self.workers.board(worker).at = (place, kill)

    def _successor(self, worker: int) -> None:
        self.leases = [lease for lease in self.leases if self._owner(lease) != worker]
        self.demands[worker].close()
        self.workers.worlds[worker] = self.workers.join(worker)

    def _owner(self, lease: Lease) -> int:
        made = self.workers.worlds[0].loader.made
        return 0 if any(lease.generation.runner is each for each in made) else 1

    @rule(worker=WORKER, name=NAME)
    def somebody_waits_for_a_model(self, worker: int, name: str) -> None:
        """A request for what is not in memory."""
        self.demands[worker].enter_context(self.workers.worlds[worker].reconciler.schedule.demand(name))

    @rule(worker=WORKER)
    def nobody_waits_any_more(self, worker: int) -> None:
        """Their deadlines have passed."""
        self.demands[worker].close()

    @rule(worker=WORKER, name=NAME, keep=st.booleans())
    def a_request_begins(self, worker: int, name: str, keep: bool) -> None:
        """It is answered if the model is there."""
        slot = self.workers.worlds[worker].reconciler.observed.slots.get(name)
        if slot is None or worker in self.stopped:
            return
        try:
            lease = slot.lease()
        except ModelNotReady:
            return
        if keep:
            self.leases.append(lease)
        else:
            lease.release()

    @rule(which=st.integers(0, 5))
    def a_request_ends(self, which: int) -> None:
        """Any of those under way."""
        if self.leases:
            self.leases.pop(which % len(self.leases)).release()

    # --- what always holds ---

    @invariant()
    def nothing_borrowed_is_closed(self) -> None:
        """In no worker."""
        for lease in self.leases:
            assert isinstance(runner := lease.generation.runner, FakeRunner)
            assert runner.closed == 0

    @invariant()
    def each_worker_holds_what_fits(self) -> None:
        """Each of them has room for so many, those that drain included."""
        for world in self.workers.worlds:
            assert sum(1 for runner in world.loader.made if not runner.closed) <= ROOM

    def teardown(self) -> None:
        """Everybody lives and can load: whatever is asked for comes, one after the other."""
        if not hasattr(self, "workers"):
            return
        for lease in self.leases:
            lease.release()
        workers = self.workers
        for index, world in enumerate(workers.worlds):
            self.demands[index].close()
            world.loader.fails.clear()
            workers.board(index).at = ("", kill)
            world.clock.now += 1000
            world.reconciler.schedule.retry()
        workers.settle()
        for name in (*NAMES, *NAMES):
            with workers.worlds[0].reconciler.schedule.demand(name):
                self._brought(name)
        workers.close()
        self.folder.cleanup()
        gc.unfreeze()

    def _brought(self, name: str) -> None:
        for _ in range(30):
            for world in self.workers.worlds:
                world.step()
                world.background.run_all()
            if all(world.serving(name) for world in self.workers.worlds):
                return
            self.each_worker_holds_what_fits()
        raise AssertionError(f"{name} does not come")


AnyOrder.TestCase.settings = settings(
    max_examples=SIZES.orders, stateful_step_count=60, deadline=None, database=None, derandomize=True
)
TestAnyOrder = pytest.mark.slow(pytest.mark.timeout(120)(AnyOrder.TestCase))
