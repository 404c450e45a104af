"""Several workers in whatever order: answers never go back, and one number is one version everywhere."""

from __future__ import annotations

import gc
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from hotswap.errors import VersionFailed
from hotswap.generation import Lease
from hotswap.slot import NotSwitched
from tests.e2e.sizes import SIZES
from tests.hotswap.fake_models import FakeRunner
from tests.hotswap.workers import PLACES, Killed, Workers, kill

VERSIONS = st.sampled_from(["v1", "v2", "v3"])
WORKER = st.integers(0, 2)


class AnyOrder(RuleBasedStateMachine):
    """Three workers, one model; each may be stopped for a while, or die at any step of a swap."""

    @initialize()
    def begin(self) -> None:
        """All serve v1."""
        gc.freeze()
        self.folder = tempfile.TemporaryDirectory()
        self.workers = Workers(Path(self.folder.name), 3, "m:v1")
        self.workers.settle()
        self.leases: list[Lease] = []
        self.highest = 0
        self.versions: dict[int, str] = {}
        self.stopped: set[int] = set()

    # --- the world around ---

    @rule(version=VERSIONS)
    def a_version_comes(self, version: str) -> None:
        """It becomes the newest."""
        self.workers.source.add(f"m:{version}")

    @rule(wish=st.sampled_from(["latest", "v1", "v2", "v3"]))
    def somebody_aims(self, wish: str) -> None:
        """A management call's edit."""
        self.workers.aim(wish)

    @rule(worker=WORKER, version=VERSIONS, bad=st.booleans())
    def a_version_turns_bad_or_good_in_one_worker(self, worker: int, version: str, bad: bool) -> None:
        """Its memory is short, say."""
        loader = self.workers.worlds[worker].loader
        loader.fails[version] = {"load": VersionFailed("no memory")} if bad else {}

    @rule(worker=WORKER, seconds=st.sampled_from([0.5, 40.0]))
    def time_passes(self, worker: int, seconds: float) -> None:
        """Patience ends, and back-offs."""
        self.workers.worlds[worker].clock.now += seconds

    # --- the workers ---

    @rule(worker=WORKER)
    def a_worker_turns(self, worker: int) -> None:
        """One step, unless it is stopped."""
        if worker not in self.stopped:
            try:
                self.workers.worlds[worker].step()
            except Killed:
                self._successor(worker)

    @rule(worker=WORKER)
    def a_worker_loads(self, worker: int) -> None:
        """All that it wants, and takes it in."""
        self.a_worker_turns(worker)
        self.a_loader_works(worker)
        self.a_worker_turns(worker)

    @rule(worker=WORKER)
    def a_loader_works(self, worker: int) -> None:
        """One task, unless it is stopped."""
        background = self.workers.worlds[worker].background
        if worker not in self.stopped and background.tasks:
            background.run()

    @rule(worker=WORKER)
    def a_worker_is_stopped_or_goes_on(self, worker: int) -> None:
        """By a signal; the others see that its heart stands still."""
        self.stopped ^= {worker}
        self.workers.seats.alive ^= {worker}

    @rule(worker=WORKER)
    def a_worker_looks_stopped(self, worker: int) -> None:
        """Its heart is late, or beats again, while it works on."""
        if worker not in self.stopped:
            self.workers.seats.alive ^= {worker}

    @rule(worker=WORKER, place=st.sampled_from(PLACES))
    def a_worker_will_die(self, worker: int, place: str) -> None:
        """When it comes there."""
        self.workers.board(worker).at = (place, kill)

    def _successor(self, worker: int) -> None:
        self.workers.worlds[worker] = self.workers.join(worker)

    # --- requests ---

    @rule(first=WORKER, keep=st.booleans())
    def requests_begin(self, first: int, keep: bool) -> None:
        """One in each worker that is not stopped."""
        for worker in (first, (first + 1) % 3, (first + 2) % 3):
            lease = None if worker in self.stopped else self._lease(worker)
            if lease is not None and keep:
                self.leases.append(lease)
            elif lease is not None:
                lease.release()

    def _lease(self, worker: int) -> Lease | None:
        slot = self.workers.worlds[worker].reconciler.observed.slots.get("m")
        try:
            lease = None if slot is None else slot.lease()
        except (NotSwitched, Killed):
            return None
        if lease is not None:
            generation = lease.generation
            assert generation.number >= self.highest
            self.highest = generation.number
            version = generation.tag.version
            assert self.versions.setdefault(generation.number, version) == version
        return lease

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

    def teardown(self) -> None:
        """Everybody lives and can load: all answer with what is wanted, under one number."""
        if not hasattr(self, "workers"):
            return
        for lease in self.leases:
            lease.release()
        workers = self.workers
        workers.seats.alive |= {0, 1, 2}
        for index, world in enumerate(workers.worlds):
            world.loader.fails.clear()
            workers.board(index).at = ("", kill)
            world.clock.now += 1000
            world.reconciler.schedule.retry()
        workers.source.add("m:v2")
        workers.aim("v2")
        workers.settle()
        workers.settle()
        assert workers.all() == ["v2"] * 3
        assert len(workers.numbers()) == 1
        for world in workers.worlds:
            assert [each.tag.version for each in world.loader.made if not each.closed] == ["v2"]
        workers.close()
        self.folder.cleanup()
        gc.unfreeze()


AnyOrder.TestCase.settings = settings(
    max_examples=SIZES.orders, stateful_step_count=60, deadline=None, database=None, derandomize=True
)
TestAnyOrder = pytest.mark.slow(pytest.mark.timeout(120)(AnyOrder.TestCase))
