"""Versions that fail or are not whole yet: when they are tried again, and what serves meanwhile."""

from __future__ import annotations

import pytest

from hotswap.desired import DesiredState, record_serving, seed
from hotswap.errors import VersionFailed
from hotswap.repository import Incomplete, Invalid, Verified
from manifest.tags import ModelTag
from tests.hotswap.world import World

V1, V2 = ModelTag("m", "v1"), ModelTag("m", "v2")


def failing() -> World:
    """v1 serves, v2 is wanted and has failed once."""
    world = World("m:v1")
    world.settle()
    world.source.add("m:v2")
    world.loader.fails["v2"] = {"load": VersionFailed("bad weights")}
    world.settle()
    return world


def tries(world: World) -> int:
    """How often v2 was loaded."""
    return world.loader.loads.count("m:v2")


def test_a_failed_version_is_tried_again_only_after_its_delay_and_delays_grow() -> None:
    world = failing()
    delays = []
    for number in range(2, 10):
        begun = world.clock.now
        while tries(world) < number:
            world.clock.now += 0.5
            world.settle()
        delays.append(world.clock.now - begun)
    assert delays == [1, 2, 4, 8, 16, 32, 60, 60]
    assert [event for event in world.observer.events if "failed" in event][:2] == [
        "failed m:v2 1",
        "failed m:v2 2",
    ]


def test_retrying_one_version_forgives_it_alone_and_at_once() -> None:
    world = failing()
    world.reconciler.schedule.retry(V1)
    world.settle()
    assert tries(world) == 1
    world.reconciler.schedule.retry(V2)
    world.settle()
    assert tries(world) == 2


def test_retrying_everything_forgives_everything_and_delays_begin_anew() -> None:
    world = failing()
    world.clock.now += 1
    world.settle()
    world.reconciler.schedule.retry()
    world.settle()
    assert tries(world) == 3
    assert world.observer.events[-1] == "failed m:v2 1"


def test_a_version_whose_files_have_changed_is_tried_at_once() -> None:
    world = failing()
    world.loader.fails.clear()
    world.source.add("m:v2", "sha256:mended")
    world.settle()
    assert (world.serving(), world.reconciler.observed.backoff.failures) == ("v2", {})


def test_files_that_change_while_the_old_ones_fail_are_tried_at_once() -> None:
    world = World("m:v1")
    world.settle()
    world.source.add("m:v2")
    world.loader.fails["v2"] = {"load": VersionFailed("bad weights")}
    world.step()
    world.background.run()
    world.source.add("m:v2", "sha256:mended")
    world.loader.fails.clear()
    world.settle()
    assert world.serving() == "v2"


def test_a_try_under_way_when_somebody_asks_again_is_repeated_when_it_fails() -> None:
    world = failing()
    world.clock.now += 1
    world.step()
    world.background.run()
    world.loader.fails.clear()
    world.reconciler.schedule.retry(V2)
    world.settle()
    assert world.serving() == "v2"


def test_a_try_that_somebody_asked_to_repeat_is_repeated_once() -> None:
    world = failing()
    world.clock.now += 1
    world.step()
    world.reconciler.schedule.retry(V2)
    world.settle()
    assert tries(world) == 3


def test_a_version_that_is_not_whole_yet_is_tried_at_every_look_and_counts_as_no_failure() -> None:
    world = World("m:v1")
    world.settle()
    world.source.add("m:v2")
    world.source.settled[V2] = Incomplete("weights.onnx is 3 of 7 bytes long")
    for _ in range(4):
        world.clock.now += 0.5
        world.settle()
    assert (world.serving(), tries(world)) == ("v1", 0)
    assert [event for event in world.observer.events if "failed" in event] == []
    del world.source.settled[V2]
    world.clock.now += 0.5
    world.settle()
    assert world.serving() == "v2"


@pytest.mark.parametrize("settled", [Invalid("flipped byte"), OSError("flipped byte")])
def test_a_version_that_cannot_be_served_or_read_fails_with_its_reason(
    settled: Verified | Exception,
) -> None:
    world = World("m:v1")
    world.settle()
    world.source.add("m:v2")
    world.source.settled[V2] = settled
    world.settle()
    assert world.serving() == "v1"
    assert "flipped byte" in world.reconciler.observed.backoff.failures[V2].reason


# --- at start --------------------------------------------------------------------------------------


def started(serve: str = "m:v2") -> World:
    """A restart after v1 has served, with v2 as target."""
    world = World("m:v1", "m:v2")
    world.store.edit(record_serving("m", "v1", "sha256:1", 1))
    world.store.edit(seed(serve, None))
    return world


def test_at_start_the_target_serves_first_when_it_can() -> None:
    world = started()
    world.settle()
    assert (world.serving(), world.loader.loads) == ("v2", ["m:v2"])


def test_at_start_a_failing_target_is_stood_in_for_and_moved_to_when_it_is_mended() -> None:
    world = started()
    world.loader.fails["v2"] = {"warm": VersionFailed("bad weights")}
    world.settle()
    assert world.serving() == "v1"
    world.loader.fails.clear()
    world.clock.now += 1
    world.settle()
    assert world.serving() == "v2"


def test_at_start_an_unsettled_target_is_stood_in_for_and_moved_to_when_it_is_whole() -> None:
    world = started("m:latest")
    world.source.settled[V2] = Incomplete("still copied")
    world.settle()
    assert world.serving() == "v1"
    world.source.settled.clear()
    world.clock.now += 0.5
    world.settle()
    assert world.serving() == "v2"


def test_at_start_a_missing_target_is_stood_in_for_and_moved_to_when_it_comes() -> None:
    world = started("m:v3")
    world.settle()
    assert world.serving() == "v1"
    world.source.add("m:v3")
    world.settle()
    assert world.serving() == "v3"


def test_standing_in_does_not_change_what_is_wanted() -> None:
    world = started("m:v3")
    world.settle()
    document: DesiredState = world.store.read()
    assert (document.models["m"].target, document.models["m"].last_good) == ("v3", "v1")


def test_a_target_that_is_whole_before_the_stand_in_has_loaded_is_served_instead() -> None:
    world = started("m:v3")
    world.step()
    world.source.add("m:v3")
    world.background.run_all()
    world.settle()
    assert world.serving() == "v3"
