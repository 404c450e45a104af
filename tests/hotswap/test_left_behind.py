"""Requests to a worker that the others went on without, taking it for stopped."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from hotswap.errors import ModelNotFound, ModelNotReady
from tests.hotswap.workers import Workers
from tests.hotswap.world import LiveWorld, asked, live

pytestmark = pytest.mark.anyio


@pytest.fixture
def two(tmp_path: Path) -> Iterator[tuple[LiveWorld, Workers]]:
    """A live worker that the other one takes for stopped, and goes on to v2 without."""
    others = Workers(tmp_path, 1, "m:v1")
    others.settle()
    with live(commits=others.view(1), source=others.source, store=others.store) as world:
        yield world, others


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
    with pytest.raises(ModelNotReady, match="still loads"):
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
    slot = world.reconciler.slots["m"]
    assert await world.control.changes.until(lambda: slot.prepared is not None, 5.0)
    others.load(0)
    assert others.all() == ["v2"]
    # Its reconciler looks once a minute, and no request has come.
    assert await world.control.changes.until(lambda: world.serving() == "v2", 5.0)
