"""More models than fit: a request brings its model, others leave for it, and no request is lost by that."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

import pytest

from hotswap import lifecycle
from hotswap.control import Control, TargetChange
from hotswap.dataplane import ModelWait
from hotswap.desired import seed, set_loaded
from hotswap.errors import (
    Conflict,
    DeadlineExceeded,
    InsufficientMemory,
    ModelNotLoaded,
    ModelNotReady,
    VersionFailed,
)
from hotswap.predictions import Answer
from hotswap.slot import NotResident
from manifest.tags import ModelTag
from tests.hotswap.many_models import MB, STAY, Crowded
from tests.hotswap.world import asked

pytestmark = pytest.mark.anyio


async def driven(world: Crowded, task: asyncio.Task[Answer], turns: int = 400) -> Answer:
    """The answer of a request, while the world turns as the service does."""
    for _ in range(turns):
        await asyncio.sleep(0)
        if task.done():
            break
        world.step()
        world.background.run_all()
        await asyncio.sleep(0.001)
    return await asyncio.wait_for(task, 20)


async def answer(world: Crowded, name: str, seconds: float = 30.0) -> Answer:
    """Ask one model."""
    return await driven(world, asyncio.create_task(world.plane.predict(asked(name, seconds=seconds))))


async def test_models_come_in_while_there_is_room_and_the_others_when_asked_for() -> None:
    world = Crowded("a:v1", "b:v1", "c:v1")
    world.settle()
    assert world.loaded() == ["a", "b"]
    await world.plane.predict(asked("a"))
    answered = await answer(world, "c")
    assert (answered.model, answered.version) == ("c", "v1")
    assert world.loaded() == ["a", "c"]  # b was used least recently
    assert f"evicted to make room for c:v1: b:v1 {100 * MB}" in world.observer.events
    await world.end()


async def test_named_and_preloaded_models_come_in_before_the_others() -> None:
    world = Crowded("a:v1", "b:v1", "c:v1", first=["c"])
    world.settle()
    assert world.loaded() == ["a", "c"]
    named = Crowded("a:v1", "b:v1", "c:v1", "d:v1")
    named.store.edit(seed("d,c,b,a", None))
    named.settle()
    assert named.loaded() == ["c", "d"]
    await world.end()
    await named.end()


async def test_a_model_that_is_not_in_memory_is_ready_and_a_lease_says_that_it_comes() -> None:
    world = Crowded("a:v1", "b:v1", "c:v1")
    world.store.edit(seed("a,b,c", None))
    world.settle()
    view = world.reconciler.view
    assert view.ready()
    assert view.not_serving(["a", "b", "c"]) == []
    assert (view.servable("c"), view.serving("c"), view.version_to_bring("c")) == (True, None, "v1")
    residence = view.residence("c")
    assert not residence.loaded
    assert residence.reason is not None
    assert residence.reason.startswith(
        "loads when it is asked for: c:v1 needs 100 MB at its peak; budget 200"
    )
    for version in (None, "v1"):
        with pytest.raises(NotResident):
            world.plane.router.lease("c", version)
    loaded = view.residence("a")
    assert (loaded.loaded, loaded.memory_bytes, loaded.evictable) == (True, 100 * MB, True)
    await world.end()


async def test_a_model_that_fails_to_load_is_not_ready_however_little_room_there_is() -> None:
    world = Crowded("a:v1", "b:v1", "c:bad")
    world.loader.fails["bad"] = {"load": VersionFailed("broken")}
    world.settle()
    with pytest.raises(ModelNotReady, match="c:bad failed"):
        await answer(world, "c")
    assert not world.reconciler.view.servable("c")
    assert len(world.loaded()) == 1  # one had left for it; the room is free again
    await answer(world, "a")
    await answer(world, "b")
    assert world.loaded() == ["a", "b"]
    await world.end()


async def test_what_was_loaded_for_a_request_stays_until_the_request_has_used_it() -> None:
    """In a full process the request goes on long after the load, and others ask for room meanwhile."""
    world = Crowded("a:v1", "b:v1", "c:v1", "d:v1", "e:v1")
    world.settle()
    tasks = [asyncio.create_task(world.plane.predict(asked(name))) for name in ("c", "d", "e")]
    await asyncio.sleep(0)
    for _ in range(50):  # the event loop has no time for those who wait
        world.step()
        world.background.run_all()
    assert world.loaded() == ["c", "d"]
    for task in tasks:
        assert (await driven(world, task)).version == "v1"
    assert [world.loader.loads.count(f"{name}:v1") for name in "cde"] == [1, 1, 1]
    assert {use.awaited for use in world.reconciler.observed.table.uses("cde").values()} == {0}
    await world.end()


@pytest.mark.slow
async def test_a_thousand_first_requests_are_one_load() -> None:
    world = Crowded("a:v1", "b:v1", "c:v1", capacity=1000, threads=4)
    world.settle()
    tasks = [asyncio.create_task(world.plane.predict(asked("c"))) for _ in range(1000)]
    await driven(world, tasks[0])
    answers = await asyncio.gather(*tasks)
    assert {each.version for each in answers} == {"v1"}
    assert world.loader.loads.count("c:v1") == 1
    await world.end()


async def test_what_a_request_waits_for_goes_before_what_nobody_waits_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The load, and the end of what makes room for it; the heap is handed back afterwards, once."""
    released = list[str]()
    monkeypatch.setattr(lifecycle, "release_memory", lambda: released.append("heap"))
    world = Crowded("a:v1", "b:v1", "c:v1")
    world.settle()
    assert set(world.background.urgent) == {False}
    world.background.urgent.clear()
    task = asyncio.create_task(world.plane.predict(asked("c")))
    await driven(world, task)
    assert (await task).version == "v1"
    close, release, load = world.background.urgent
    assert (close, release, load) == (True, False, True)
    assert released == ["heap"]
    world.source.add("c:v2", "sha256:2")
    world.settle()
    assert set(world.background.urgent[3:]) == {False}, "a swap gives way to requests"
    await world.end()


async def test_a_request_whose_time_is_over_is_told_so_and_the_load_goes_on() -> None:
    world = Crowded("a:v1", "b:v1", "c:v1")
    world.settle()
    task = asyncio.create_task(world.plane.predict(asked("c", seconds=0.05)))
    await asyncio.sleep(0)
    world.step()
    world.background.run_all()
    world.step()
    assert "c:v1" not in world.loader.loads  # it waits for the loader's thread
    with pytest.raises(DeadlineExceeded, match="still loading"):
        await task
    assert world.reconciler.schedule.demanded() == ()
    world.background.run_all()
    world.step()
    assert "c" in world.loaded()
    assert (await world.plane.predict(asked("c"))).version == "v1"
    await world.end()


async def test_what_can_never_fit_is_refused_at_once_with_the_arithmetic() -> None:
    world = Crowded("a:v1", "b:v1", "c:large")
    world.settle()
    with pytest.raises(InsufficientMemory, match="c:large needs 900 MB at its peak; budget 200"):
        await answer(world, "c")
    assert world.loaded() == ["a", "b"]
    waiting = ModelWait(world.plane, world.reconciler.view, world.reconciler.schedule)
    asks = asyncio.create_task(waiting.wait_until_servable("c", None, asked("c").deadline))
    with pytest.raises(InsufficientMemory, match="needs 900 MB"):
        await driven(world, asks)  # type: ignore[arg-type]
    await world.end()


async def test_what_can_never_fit_is_not_ready() -> None:
    world = Crowded("a:large", "b:v1")
    world.settle()
    view = world.reconciler.view
    assert (view.servable("a"), view.not_serving(["a", "b"]), view.ready()) == (False, ["a"], True)
    assert (view.residence("a").reason or "").startswith("a:large needs 900 MB")
    world.source.add("a:v2", "sha256:2")
    world.settle()
    assert view.servable("a")
    await world.end()


async def test_who_is_pinned_stays_and_others_are_refused_for_it() -> None:
    world = Crowded("a:v1", "b:v1", "c:v1", pinned=["a", "b"])
    world.settle()
    with pytest.raises(InsufficientMemory, match="of which 200 leased, pinned or just loaded"):
        await answer(world, "c")
    assert not world.reconciler.view.residence("a").evictable
    await world.end()


async def test_who_is_borrowed_stays_and_the_others_wait_for_it_until_their_time_is_over() -> None:
    world = Crowded("m:held", "c:v1", room=1)
    world.store.edit(seed("m,c", None))
    world.settle()
    held = await world.held()
    with pytest.raises(InsufficientMemory, match="of which 100 leased"):
        await answer(world, "c", seconds=0.1)
    assert world.loaded() == ["m"]
    waiting = asyncio.create_task(world.plane.predict(asked("c")))
    await asyncio.sleep(0)
    world.step()
    world.hold.let_go()
    assert (await held).version == "held"
    assert (await driven(world, waiting)).model == "c"
    await world.end()


async def test_who_waits_first_comes_first() -> None:
    world = Crowded("a:v1", "m:held", "c:v1", "d:v1", room=1, stay=STAY)
    world.store.edit(seed("m,a,c,d", None))
    world.settle()
    held = await world.held()
    first = asyncio.create_task(world.plane.predict(asked("d")))
    await asyncio.sleep(0)
    second = asyncio.create_task(world.plane.predict(asked("c")))
    await asyncio.sleep(0)
    world.step()
    world.hold.let_go()
    await held
    await driven(world, first)
    await driven(world, second)
    loads = [tag for tag in world.loader.loads if tag in ("c:v1", "d:v1")]
    assert loads == ["d:v1", "c:v1"]
    await world.end()


async def test_who_fits_passes_who_waits_until_the_workers_have_shrunk() -> None:
    world = Crowded("a:v1", "c:large", room=10)
    world.store.edit(seed("a,c", None))
    table = world.reconciler.observed.table
    table.report_base(950 * MB, 50 * MB)
    world.settle()
    assert world.loaded() == []
    table.report_base(150 * MB, 50 * MB)  # c needs 900
    large = asyncio.create_task(world.plane.predict(asked("c")))
    await asyncio.sleep(0)
    world.step()
    assert (await answer(world, "a", seconds=5.0)).model == "a"
    for _ in range(3):
        world.step()
    assert world.loaded() == ["a"]  # it would leave for nothing
    table.report_base(50 * MB, 50 * MB)
    assert (await driven(world, large)).model == "c"
    assert world.loaded() == ["c"]
    await world.end()


async def test_a_model_that_left_and_is_back_has_not_been_switched() -> None:
    world = Crowded("a:v1", "c:v1", room=1)
    world.settle()
    first = await world.plane.predict(asked("a"))
    await answer(world, "c")
    written = world.store.read()
    back = await answer(world, "a")
    assert back.generation > first.generation
    assert [f"{swap.name} {swap.before} {swap.after}" for swap in world.observer.swaps] == [
        "a None v1",
        "c None v1",
    ]
    assert world.store.read().models["a"] == written.models["a"]  # not at once
    world.clock.now += 6
    world.step()
    assert world.store.read().models["a"].generation == back.generation
    await world.end()


async def test_what_comes_back_is_checked_and_not_warmed_once_more() -> None:
    world = Crowded("a:v1", "c:v1", room=1)
    world.settle()
    await answer(world, "c")
    await answer(world, "a")
    first, again = (runner for runner in world.loader.made if runner.tag.name == "a")
    assert (first.warms, first.checks, again.warms, again.checks) == (1, 1, 0, 1)
    await world.end()


async def test_a_new_version_of_a_model_that_left_is_loaded_when_asked_for_and_is_a_switch() -> None:
    world = Crowded("a:v1", "c:v1", room=1)
    world.settle()
    await answer(world, "c")
    world.source.add("a:v2", "sha256:2")
    world.settle()
    assert "a:v2" not in world.loader.loads
    assert (await answer(world, "a")).version == "v2"
    swap = world.observer.swaps[-1]
    assert (swap.name, swap.before, swap.after) == ("a", "v1", "v2")
    await world.end()


async def test_a_new_version_of_a_model_in_memory_makes_room_for_itself() -> None:
    world = Crowded("a:v1", "b:v1")
    world.settle()
    await world.plane.predict(asked("b"))
    world.source.add("b:v2", "sha256:2")
    world.settle()
    world.settle()
    assert (world.serving("b"), world.loaded()) == ("v2", ["b"])
    await answer(world, "a")  # v1 of b is freed: there is room for both again
    assert world.loaded() == ["a", "b"]
    await world.end()


async def test_a_model_that_an_operator_unloaded_is_loaded_by_no_request() -> None:
    world = Crowded("a:v1", "b:v1", "c:v1")
    world.settle()
    world.store.edit(set_loaded("c", False, "operator", "unload"))
    world.settle()
    with pytest.raises(ModelNotLoaded):
        await answer(world, "c")
    assert "c:v1" not in world.loader.loads
    world.store.edit(set_loaded("c", True, "operator", "load"))
    world.settle()
    assert (await answer(world, "c")).version == "v1"
    await world.end()


async def managed(world: Crowded, act: Callable[[Control], object]) -> object:
    """A management call, while the world turns."""
    control = Control(world.reconciler.view, world.reconciler.schedule, world.store, world.source)
    return await driven(world, asyncio.ensure_future(act(control)))  # type: ignore[arg-type]


async def test_management_brings_a_model_into_memory_and_puts_back_what_does_not_fit() -> None:
    world = Crowded("a:v1", "b:v1", "c:v1")
    world.settle()
    assert await managed(world, lambda control: control.load("c", "operator", 5.0)) is True
    assert "c" in world.loaded()
    world.source.add("c:large", "sha256:2", latest=False)
    with pytest.raises(InsufficientMemory, match=r"needs 900 MB.*the target is latest"):
        await managed(world, lambda control: control.set_target(TargetChange("c", "large", "me"), 5.0))
    assert world.serving("c") == "v1"
    await world.end()


async def test_a_target_is_brought_when_it_is_set_whoever_sets_it() -> None:
    world = Crowded("a:v1", "c:v1", room=1)
    world.settle()
    await answer(world, "c")
    world.source.add("a:v2", "sha256:2", latest=False)
    world.swap("a", "v2")  # as the command line does
    assert (world.serving("a"), world.loaded()) == ("v2", ["a"])
    world.source.add("c:large", "sha256:2", latest=False)
    world.swap("c", "large")
    refusal = world.reconciler.view.memory_refusal("c")
    assert refusal is not None
    assert refusal.hopeless
    states = {each.version: each for each in world.reconciler.view.model("c").versions}
    assert (states["v1"].state, states["large"].state) == ("available", "unservable")
    assert str(states["large"].reason).startswith("check memory: c:large needs 900 MB at its peak")
    assert world.loaded() == ["a"]
    await world.end()


async def test_what_would_answer_is_current_for_who_expects_it_though_it_is_not_in_memory() -> None:
    world = Crowded("a:v1", "c:v1", room=1)
    world.settle()
    await answer(world, "c")
    change = TargetChange("a", "v1", "me", expected_current="v1")
    assert await managed(world, lambda control: control.set_target(change, 5.0)) is True
    await answer(world, "c")
    with pytest.raises(Conflict, match="a is served by v1, not by v9"):
        await managed(world, lambda control: control.set_target(replace(change, expected_current="v9"), 5.0))
    await world.end()


async def test_after_a_version_that_fails_a_request_waits_for_the_one_that_was_evicted() -> None:
    world = Crowded("a:v1", "c:v1", room=1)
    world.settle()
    await answer(world, "c")
    world.source.add("a:v2", "sha256:2", latest=False)
    world.loader.fails["v2"] = {"check": VersionFailed("scores are NaN")}
    world.aim("a", "v2")
    world.step()
    while world.reconciler.view.failure(ModelTag("a", "v2")) is None:
        world.background.run_all()
        world.step()
    assert world.loaded() == []  # v1 is on its way back
    assert world.reconciler.view.servable("a")
    assert (await answer(world, "a")).version == "v1"
    await world.end()


async def test_an_eviction_that_overtakes_a_request_costs_it_a_load_and_nothing_else() -> None:
    world = Crowded("m:v1", "c:v1", room=1)
    world.settle()
    if world.loaded() != ["m"]:
        await answer(world, "m")
    slot = world.reconciler.observed.slots["m"]
    generation = slot.current
    assert generation is not None
    borrow = generation.borrow

    def evicted_just_here() -> bool:
        borrowed = borrow()
        generation.borrow = borrow  # type: ignore[method-assign]
        world.reconciler._rollout.evict(slot, "v1")
        return borrowed

    generation.borrow = evicted_just_here  # type: ignore[method-assign]
    again = await answer(world, "m")
    assert (again.version, again.generation) == ("v1", generation.number + 2)
    await world.end()


async def test_without_rules_everything_is_loaded() -> None:
    world = Crowded("a:v1", "b:v1", "c:v1", room=3)
    world.settle()
    assert world.loaded() == ["a", "b", "c"]
    await world.end()
