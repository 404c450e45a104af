"""Whatever comes in whatever order: what must never be never is, and in the end what is wanted serves."""

from __future__ import annotations

import gc

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from hotswap.errors import VersionFailed
from hotswap.generation import Lease, State
from hotswap.repository import Incomplete
from manifest.tags import ModelTag
from tests.hotswap.fake_models import FakeRunner
from tests.hotswap.world import World

VERSIONS = st.sampled_from(["v1", "v2", "v3"])


class AnyOrder(RuleBasedStateMachine):
    """One model; stores, people, clocks and threads act in any order."""

    @initialize(start=st.booleans())
    def begin(self, start: bool) -> None:
        """Some runs begin with an empty store."""
        gc.freeze()
        self.world = World(*["m:v1"] if start else [])
        self.leases: list[Lease] = []
        self.has_served = False
        self.highest = 0
        self.files = 0

    # --- the store ---

    @rule(version=VERSIONS, latest=st.booleans())
    def files_come_or_change(self, version: str, latest: bool) -> None:
        """New content under an old or a new version."""
        self.files += 1
        self.world.source.add(f"m:{version}", f"sha256:{self.files}", latest=latest)

    @rule(version=VERSIONS)
    def files_vanish(self, version: str) -> None:
        """Deleted, perhaps while it serves."""
        if version in self.world.source.models.get("m", {}):
            self.world.source.remove(f"m:{version}")

    @rule(latest=st.sampled_from([None, "v9"]))
    def the_pointer_breaks(self, latest: str | None) -> None:
        """Empty or dangling."""
        self.world.source.latest["m"] = latest

    @rule()
    def the_store_goes_or_comes(self) -> None:
        """Unmounted and mounted."""
        self.world.source.away = not self.world.source.away

    @rule(version=VERSIONS, stage=st.sampled_from(["load", "warm", "check", None]))
    def the_version_turns_bad_or_good(self, version: str, stage: str | None) -> None:
        """At some stage of loading."""
        self.world.loader.fails[version] = {stage: VersionFailed("bad")} if stage else {}

    @rule(version=VERSIONS)
    def the_version_is_copied(self, version: str) -> None:
        """Not whole now; whole when this comes again."""
        tag = ModelTag("m", version)
        if self.world.source.settled.pop(tag, None) is None:
            self.world.source.settled[tag] = Incomplete("copying")

    # --- people, clocks and threads ---

    @rule(wish=st.sampled_from(["latest", "v1", "v2", "v3"]))
    def somebody_aims(self, wish: str) -> None:
        """A management call's edit."""
        self.world.aim("m", wish)

    @rule()
    def somebody_asks_to_retry(self) -> None:
        """A reload."""
        self.world.reconciler.schedule.retry()

    @rule(seconds=st.sampled_from([0.5, 70.0]))
    def time_passes(self, seconds: float) -> None:
        """Back-offs end."""
        self.world.clock.now += seconds

    @rule()
    def the_reconciler_turns(self) -> None:
        """One step."""
        self.world.step()

    @rule()
    def the_loader_works(self) -> None:
        """One task."""
        if self.world.background.tasks:
            self.world.background.run()

    @rule()
    def a_request_begins(self) -> None:
        """It borrows whatever serves."""
        slot = self.world.reconciler.observed.slots.get("m")
        if slot is not None and slot.current is not None:
            self.leases.append(slot.lease())

    @rule(which=st.integers(0, 5))
    def a_request_ends(self, which: int) -> None:
        """Any of those under way."""
        if self.leases:
            self.leases.pop(which % len(self.leases)).release()

    # --- what always holds ---

    @invariant()
    def nothing_borrowed_is_closed(self) -> None:
        """And nothing is closed twice."""
        for lease in self.leases:
            assert isinstance(runner := lease.generation.runner, FakeRunner)
            assert runner.closed == 0
        assert all(each.closed <= 1 for each in self.world.loader.made)

    @invariant()
    def what_has_begun_to_serve_is_served(self) -> None:
        """By a generation whose number never falls."""
        slot = self.world.reconciler.observed.slots.get("m")
        current = slot.current if slot else None
        assert current is not None or not self.has_served
        if current is not None:
            assert current.state is State.SERVING
            assert current.number >= self.highest
            self.has_served, self.highest = True, current.number

    @invariant()
    def one_version_loads_at_a_time(self) -> None:
        """However often somebody asks."""
        assert len(self.world.reconciler.observed.loading) <= 1

    def teardown(self) -> None:
        """Everything is mended: the target serves, and nothing else is left in memory."""
        if not hasattr(self, "world"):
            return
        for lease in self.leases:
            lease.release()
        self.world.source.away = False
        self.world.source.settled.clear()
        self.world.loader.fails.clear()
        self.world.source.add("m:v2", "sha256:mended")
        self.world.aim("m", "latest")
        self.world.reconciler.schedule.retry()
        self.world.settle()
        assert self.world.serving() == "v2"
        assert [each.tag.version for each in self.world.loader.made if not each.closed] == ["v2"]
        gc.unfreeze()


AnyOrder.TestCase.settings = settings(
    max_examples=50, stateful_step_count=40, deadline=None, database=None, derandomize=True
)
TestAnyOrder = pytest.mark.slow(AnyOrder.TestCase)
