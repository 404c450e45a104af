"""Look, plan, act: one turn at a time."""

from __future__ import annotations

import pytest

from hotswap.desired import DesiredState, Edit, record_serving, seed
from hotswap.errors import VersionFailed
from hotswap.generation import State
from manifest.tags import ModelTag
from tests.hotswap.world import World
from tests.support.desired_memory import DesiredMemory


def test_a_version_is_loaded_beside_the_one_that_serves_and_then_published() -> None:
    world = World("m:v1")
    world.settle()
    world.source.add("m:v2")
    world.step()
    assert (world.serving(), world.reconciler.observed.loading) == (
        "v1",
        {ModelTag("m", "v2"): State.LOADING},
    )
    world.background.run()
    assert (world.serving(), world.loader.of("v1").closed) == ("v1", 0)
    world.step()
    assert world.serving() == "v2"
    world.background.run_all()
    assert world.loader.of("v1").closed == 1
    assert world.observer.events == [
        "loaded m:v1",
        "published m None v1",
        "loaded m:v2",
        "published m v1 v2",
        "closed m:v1",
    ]


def test_the_states_on_the_way_are_told() -> None:
    world = World("m:v1")
    seen: list[State] = []
    tag = ModelTag("m", "v1")
    world.loader.before_load = lambda _: seen.append(world.reconciler.observed.loading[tag])
    world.settle()
    assert seen == [State.LOADING]
    assert world.reconciler.observed.loading == {}


def test_a_turn_with_nothing_to_do_does_nothing() -> None:
    world = World("m:v1")
    world.settle()
    before = list(world.observer.events)
    world.step()
    world.step()
    assert (world.observer.events, len(world.background.tasks)) == (before, 0)


@pytest.mark.parametrize("stage", ["load", "warm", "check"])
def test_a_version_that_fails_keeps_the_old_one_serving_and_leaves_nothing_behind(stage: str) -> None:
    world = World("m:v1")
    world.settle()
    world.source.add("m:v2", "sha256:2")
    world.loader.fails["v2"] = {stage: VersionFailed("scores are NaN")}
    world.settle()
    failure = world.reconciler.observed.backoff.failures[ModelTag("m", "v2")]
    assert (world.serving(), failure.reason, failure.digest) == ("v1", "scores are NaN", "sha256:2")
    assert [each.closed for each in world.loader.made] == ([0] if stage == "load" else [0, 1])


def test_a_refused_version_that_cannot_even_be_closed_is_still_refused_for_its_reason() -> None:
    world = World("m:v1")
    world.loader.fails["v1"] = {"check": VersionFailed("scores are NaN"), "close": OSError("stuck")}
    world.settle()
    assert world.reconciler.observed.backoff.failures[ModelTag("m", "v1")].reason == "scores are NaN"


def test_a_target_that_changes_while_its_version_loads_never_serves_that_version() -> None:
    world = World("m:v1", "m:v2", "m:v3")
    world.swap("m", "v1")
    world.aim("m", "v2")
    world.step()
    world.aim("m", "v3")
    world.background.run_all()
    world.settle()
    unwanted = world.loader.of("v2")
    assert (world.serving(), unwanted.closed, unwanted.served) == ("v3", 1, 0)
    assert [(each.before, each.after) for each in world.observer.swaps] == [(None, "v1"), ("v1", "v3")]


def test_a_target_that_flips_back_while_the_old_version_drains_loads_it_anew() -> None:
    world = World("m:v1", "m:v2")
    world.swap("m", "v1")
    lease = world.reconciler.observed.slots["m"].lease()
    world.swap("m", "v2")
    world.swap("m", "v1")
    first, _, again = world.loader.made
    assert (world.serving(), first.closed, again.closed) == ("v1", 0, 0)
    lease.release()
    world.background.run_all()
    assert (first.closed, again.closed) == (1, 0)


def test_generation_numbers_rise_and_survive_a_restart() -> None:
    world = World("m:v1", "m:v2")
    numbers = []
    for version in ("v1", "v2", "v1", "v2"):
        world.swap("m", version)
        numbers.append(world.number())
    assert numbers == [1, 2, 3, 4]
    again = World("m:v1", "m:v2", store=world.store)
    again.settle()
    assert again.number() == 4
    again.swap("m", "v1")
    assert again.number() == 5


def test_what_is_no_longer_wanted_is_unloaded_after_its_last_lease() -> None:
    world = World("a:v1", "b:v1")
    world.settle()
    lease = world.reconciler.observed.slots["b"].lease()
    world.store.edit(seed("a:latest", None))
    world.settle()
    assert (world.serving("a"), world.serving("b")) == ("v1", None)
    runner = next(each for each in world.loader.made if each.tag.name == "b")
    assert runner.closed == 0
    lease.release()
    world.background.run_all()
    assert runner.closed == 1
    last = world.observer.swaps[-1]
    assert (last.after, last.generation) == (None, 0)
    assert last.number > 0


def test_an_unloaded_model_stays_unloaded_until_it_is_wanted_again() -> None:
    world = World("m:v1")
    world.settle()

    def unload(document: DesiredState) -> DesiredState:
        wish = document.models["m"].model_copy(update={"unloaded": True})
        return document.model_copy(update={"models": {"m": wish}})

    world.store.edit(unload)
    world.settle()
    world.source.add("m:v2")
    world.settle()
    assert world.serving() is None
    world.swap("m", "v1")
    assert world.serving() == "v1"


def test_the_default_is_stored_when_it_can_be_told_and_never_moved() -> None:
    world = World()
    world.settle()
    assert world.store.read().default is None
    world.source.add("a:v1")
    world.settle()
    world.source.add("shapes:v1")
    world.settle()
    assert world.store.read().default == "a"


def test_it_is_not_idle_while_a_step_is_half_done() -> None:
    seen: list[tuple[str | None, bool]] = []

    class Watched(DesiredMemory):
        def edit(self, change: Edit) -> DesiredState:
            seen.append((world.serving(), world.reconciler.view.idle))
            return super().edit(change)

    world = World("m:v1", store=Watched())
    world.settle()
    # The default is settled, what serves is remembered, and between the two it has been loaded.
    assert seen == [(None, False), ("v1", False)]
    assert (world.serving(), world.reconciler.view.idle) == ("v1", True)


def test_a_version_served_by_another_process_is_what_a_new_one_falls_back_on() -> None:
    world = World("m:v1", "m:v2")
    world.store.edit(record_serving("m", "v1", "sha256:1", 1))
    world.loader.fails["v2"] = {"load": VersionFailed("no")}
    world.settle()
    assert world.serving() == "v1"


def test_only_one_version_of_a_model_loads_at_a_time_and_models_do_not_wait_for_each_other() -> None:
    world = World("a:v1", "b:v1")
    world.step()
    world.source.add("a:v2")
    world.step()
    assert sorted(str(tag) for tag in world.reconciler.observed.loading) == ["a:v1", "b:v1"]
    world.settle()
    assert (world.serving("a"), world.serving("b")) == ("v2", "v1")


def test_what_changes_in_memory_alone_reads_nothing_anew() -> None:
    """A turn for a request, a load or a close; a look that somebody wants, or that is due, is one."""
    world = World("m:v1")
    world.settle()
    reconciler, looks = world.reconciler, world.source.looks

    def turn(interval: float) -> int:
        before = world.source.looks
        reconciler.wait(interval)
        reconciler.step()
        return world.source.looks - before

    reconciler.schedule.wake()
    assert turn(60) == 1
    with reconciler.schedule.demand("m"):
        has_turned, told = reconciler.schedule.turn(), list[str]()
        reconciler.on_step.append(lambda: told.append("looked"))
        assert (turn(60), has_turned(), told) == (0, True, [])
    has_looked = reconciler.schedule.look()
    reconciler.schedule.nudge()
    assert (turn(60), has_looked(), told) == (1, True, ["looked"])
    assert turn(0.001) == 1, "it is due"
    reconciler.schedule.nudge()
    assert turn(1e-9) == 1, "what was read is too old"
    assert world.source.looks == looks + 4
