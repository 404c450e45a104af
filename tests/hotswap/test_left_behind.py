"""Requests to a worker that the others went on without, taking it for stopped."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from anyio import wait_all_tasks_blocked

from hotswap.control import TargetChange
from hotswap.errors import Conflict, ModelNotFound, ModelNotReady, VersionFailed
from tests.hotswap.test_control_races import StoppedLook
from tests.hotswap.workers import Board, Workers
from tests.hotswap.world import LiveWorld, asked, live

pytestmark = pytest.mark.anyio


@pytest.fixture
def two(tmp_path: Path) -> Iterator[tuple[LiveWorld, Workers]]:
    """A live worker that the other one takes for stopped, and goes on to v2 without."""
    others = Workers(tmp_path, 1, "m:v1")
    others.settle()
    with live(coordinator=others.view(1), source=others.source, store=others.store) as world:
        yield world, others


@pytest.fixture
async def behind(two: tuple[LiveWorld, Workers]) -> AsyncIterator[LiveWorld]:
    """The worker that was left behind: it has served v1, and whatever wakes it loads v2 until the end."""
    world, others = two
    await world.data_plane.predict(asked())
    held = world.loader.holds_load("v2")
    others.source.add("m:v2")
    others.settle()
    assert others.all() == ["v2"]
    yield world
    held.let_go()


async def test_a_request_to_a_worker_that_was_left_behind_waits_until_it_has_caught_up(
    two: tuple[LiveWorld, Workers],
) -> None:
    world, others = two
    assert (await world.data_plane.predict(asked())).version == "v1"
    held = world.loader.holds_load("v2")
    others.source.add("m:v2")
    others.settle()
    assert others.all() == ["v2"]
    task = asyncio.create_task(world.data_plane.predict(asked()))
    await asyncio.to_thread(held.reached)
    assert not task.done()
    held.let_go()
    assert (await task).version == "v2"


async def test_a_request_to_a_worker_that_cannot_catch_up_in_time_is_told_to_come_again(
    two: tuple[LiveWorld, Workers],
) -> None:
    world, others = two
    await world.data_plane.predict(asked())
    held = world.loader.holds_load("v2")
    others.source.add("m:v2")
    others.settle()
    with pytest.raises(ModelNotReady, match="still loading"):
        await world.data_plane.predict(asked(seconds=0.05))
    held.let_go()


async def test_a_new_model_of_the_others_is_waited_for(two: tuple[LiveWorld, Workers]) -> None:
    world, others = two
    others.source.add("new:v1")
    others.settle()
    assert others.answers(0, "new") == "v1"
    assert (await world.data_plane.predict(asked("new"))).version == "v1"
    with pytest.raises(ModelNotFound):
        await world.data_plane.predict(asked("other"))


async def test_a_worker_that_waits_for_another_switches_without_being_woken(
    two: tuple[LiveWorld, Workers],
) -> None:
    world, others = two
    await world.data_plane.predict(asked())
    others.seats.alive.add(1)
    held = world.loader.holds_load("v2")
    others.source.add("m:v2")
    world.reconciler.wake()
    await asyncio.to_thread(held.reached)
    held.let_go()
    slot = world.reconciler.observed.slots["m"]
    assert await world.reconciler.view.wait_until(lambda: slot.prepared is not None, 5.0)
    others.load(0)
    assert others.all() == ["v2"]
    # Its reconciler looks once a minute, and no request has come.
    assert await world.reconciler.view.wait_until(lambda: world.serving() == "v2", 5.0)


async def test_a_worker_that_has_not_yet_seen_what_the_others_have_switched_to_lets_requests_wait(
    two: tuple[LiveWorld, Workers],
) -> None:
    world, others = two
    await world.data_plane.predict(asked())
    look = StoppedLook(world)
    others.source.add("m:v2")
    others.settle()
    task = asyncio.create_task(world.data_plane.predict(asked()))
    await asyncio.to_thread(look.hold.reached)
    await wait_all_tasks_blocked()
    assert not task.done()
    look.hold.let_go()
    assert (await task).version == "v2"


async def test_who_was_left_behind_does_not_say_that_it_serves(behind: LiveWorld) -> None:
    told = behind.reconciler.view.model("m")
    assert (told.serving, told.generation) == (None, None)


async def test_who_was_left_behind_is_not_ready(behind: LiveWorld) -> None:
    assert not behind.reconciler.view.ready()


async def test_a_target_that_the_others_have_left_does_not_serve_yet(behind: LiveWorld) -> None:
    assert not await behind.control.set_target(TargetChange("m", "v1", "ann"), 0.05)


async def test_a_call_that_expects_what_the_others_have_left_changes_nothing(behind: LiveWorld) -> None:
    before = behind.store.read()
    with pytest.raises(Conflict):
        await behind.control.set_target(TargetChange("m", "v2", "ann", expected_current="v1"), 0.05)
    assert behind.store.read() == before


async def test_a_model_that_the_others_still_answer_for_is_not_unloaded_yet(behind: LiveWorld) -> None:
    def full() -> None:
        raise OSError("no space left")

    board = behind.reconciler.observed.coordinator
    assert isinstance(board, Board)
    board.at = ("before decide", full)
    assert not await behind.control.unload("m", "ann", 0.05)


async def test_who_waits_for_one_model_leaves_room_for_another(tmp_path: Path) -> None:
    others = Workers(tmp_path, 1, "m:v1", "other:v1")
    others.settle()
    with live(coordinator=others.view(1), source=others.source, store=others.store, capacity=1) as world:
        for model in ("m", "other"):
            await world.data_plane.predict(asked(model))
        held = world.loader.holds_load("v2")
        others.source.add("m:v2")
        others.settle()
        waiting = asyncio.create_task(world.data_plane.predict(asked()))
        await wait_all_tasks_blocked()
        try:
            assert (await world.data_plane.predict(asked("other"))).version == "v1"
            assert not waiting.done()
        finally:
            held.let_go()
        assert (await waiting).version == "v2"


async def test_who_cannot_load_what_the_others_answer_with_lets_nobody_wait_for_it(
    two: tuple[LiveWorld, Workers],
) -> None:
    world, others = two
    await world.data_plane.predict(asked())
    world.loader.fails["v2"] = {"load": VersionFailed("no memory")}
    others.source.add("m:v2")
    others.settle()
    async with asyncio.timeout(10.0):
        for _ in range(2):  # the first is there when it fails, the second comes later
            with pytest.raises(ModelNotReady):
                await world.data_plane.predict(asked())
