"""Who answers, and who may borrow whom."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from hotswap.coordination import Decision, LocalCoordinator
from hotswap.errors import ModelNotReady, VersionNotLoaded
from hotswap.generation import Generation, State
from hotswap.slot import Routing, Slot, point_of
from manifest.tags import ModelTag
from tests.hotswap.fake_models import FakeRunner
from tests.hotswap.fakes import artifact


class StoppedSlot(Slot):
    """May do something between the reading of the table and the borrowing, once."""

    between: Callable[[], None] | None = None

    def _choose(self, routing: Routing, version: str | None, key: str | None) -> Generation | None:
        chosen = super()._choose(routing, version, key)
        act, self.between = self.between, None
        if act is not None:
            act()
        return chosen


class Made:
    """A slot and the generations made for it."""

    def __init__(self) -> None:
        self.commits = LocalCoordinator()
        self.slot = StoppedSlot("m", self.commits)
        self.drained: list[Generation] = []

    def generation(self, version: str) -> Generation:
        """One that nobody can borrow yet."""
        tag = ModelTag("m", version)
        return Generation(artifact(tag), FakeRunner(tag, 1), self.drained.append)

    def publish(self, fresh: Generation | None) -> None:
        """Prepare `fresh` (None: nobody) and decide that it answers, as a single worker does."""
        if fresh is not None:
            self.slot.prepare(fresh)
        number = self.slot.number + 1
        self.commits.decide("m", Decision(number, fresh.tag.version if fresh else None))
        self.commits.reach("m", number)
        assert self.slot.catch_up()


@pytest.fixture
def made() -> Made:
    return Made()


def test_an_empty_slot_is_not_ready(made: Made) -> None:
    with pytest.raises(ModelNotReady):
        made.slot.lease()


def test_a_published_generation_answers_with_and_without_its_version(made: Made) -> None:
    fresh = made.generation("v1")
    made.publish(fresh)
    assert made.slot.draining == ()
    assert made.slot.lease().generation is fresh
    assert made.slot.lease("v1").generation is fresh
    assert dict(made.slot.generations) == {"v1": fresh}


def test_publishing_retires_what_served_and_lets_nobody_borrow_it(made: Made) -> None:
    old, fresh = made.generation("v1"), made.generation("v2")
    made.publish(old)
    made.publish(fresh)
    assert (old.state, old.borrow(), made.slot.draining) == (State.DRAINING, False, (old,))
    with pytest.raises(VersionNotLoaded):
        made.slot.lease("v1")


def test_publishing_nobody_empties_the_slot(made: Made) -> None:
    made.publish(made.generation("v1"))
    made.publish(None)
    assert made.slot.current is None


def test_a_drained_generation_is_told_once_and_forgotten_when_asked(made: Made) -> None:
    old = made.generation("v1")
    made.publish(old)
    lease = made.slot.lease()
    made.publish(made.generation("v2"))
    assert made.drained == []
    lease.release()
    assert made.drained == [old]
    made.slot.forget(old)
    assert made.slot.draining == ()


def test_a_lease_that_meets_a_swap_after_reading_the_table_ends_on_the_new_generation(made: Made) -> None:
    old, fresh = made.generation("v1"), made.generation("v2")
    made.publish(old)
    made.slot.between = lambda: made.publish(fresh)
    lease = made.slot.lease()
    assert lease.generation is fresh
    assert (old.leases, fresh.leases) == (0, 1)
    assert made.drained == [old]


def test_a_lease_of_a_version_that_retires_just_then_says_that_it_is_not_loaded(made: Made) -> None:
    made.publish(made.generation("v1"))
    made.slot.between = lambda: made.publish(made.generation("v2"))
    with pytest.raises(VersionNotLoaded):
        made.slot.lease("v1")


def test_requests_are_routed_by_their_keys(made: Made) -> None:
    target, candidate = made.generation("v1"), made.generation("v2")
    few = Routing(((target, 0.9), (candidate, 0.1)))
    many = Routing(((target, 0.5), (candidate, 0.5)))
    keys = [f"camera-{number}" for number in range(2000)]
    some = {key for key in keys if few.pick(key) is candidate}
    more = {key for key in keys if many.pick(key) is candidate}
    assert 150 <= len(some) <= 250
    assert 900 <= len(more) <= 1100
    assert some < more  # who has it keeps it when the share grows
    assert few.pick() is target
    assert (few.find("v2"), few.find("v3")) == (candidate, None)


def test_a_point_is_the_same_in_every_process() -> None:
    assert round(point_of("m", "camera-1"), 6) == 0.503833
    assert point_of("m", "camera-1") != point_of("other", "camera-1")


def test_a_routing_to_nobody_picks_nobody(made: Made) -> None:
    alone = made.generation("v1")
    assert Routing(((alone, 1.0),)).pick("any") is alone
    assert Routing().pick("any") is None


def test_nothing_retires_before_its_successor_can_be_borrowed(made: Made) -> None:
    old, fresh = made.generation("v1"), made.generation("v2")
    successors: list[Generation] = []
    old._on_drained = lambda _: successors.append(made.slot.lease().generation)
    made.publish(old)
    made.publish(fresh)
    assert successors == [fresh]


def test_what_is_prepared_is_dropped_only_by_who_names_it(made: Made) -> None:
    first, second = made.generation("v1"), made.generation("v2")
    made.slot.prepare(first)
    made.slot.prepare(second)
    assert not made.slot.drop(first)
    assert made.slot.prepared is second
    assert made.slot.drop(second)
    assert made.slot.prepared is None


def test_a_number_that_is_reached_never_falls(made: Made) -> None:
    made.commits.reach("m", 5)
    made.commits.reach("m", 4)
    assert made.commits.number("m") == 5
