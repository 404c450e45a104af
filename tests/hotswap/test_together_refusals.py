"""One worker cannot load what is wished: it is heard by all, whatever else happens meanwhile."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from hotswap.control import TargetChange
from hotswap.errors import VersionFailed
from tests.hotswap.workers import Workers
from tests.hotswap.world import World, asked, live

OLD = ["v1", "v1"]


def refuse(world: World) -> None:
    """Let a worker fail to load v2."""
    world.loader.fails["v2"] = {"load": VersionFailed("no memory")}


def turn(workers: Workers, *order: int) -> None:
    """Let these workers load what they want, one after the other."""
    for index in order:
        workers.load(index)


@pytest.fixture
def two(tmp_path: Path) -> Workers:
    """Two workers that answer with v1; one has prepared v2, the other refuses it and is waited for."""
    workers = Workers(tmp_path, 2, "m:v1")
    workers.settle()
    workers.source.add("m:v2")
    refuse(workers.worlds[1])
    turn(workers, 0, 1, 0)
    return workers


def long_after(two: Workers) -> None:
    """Far more time has passed than a worker that says nothing is waited for."""
    two.worlds[0].clock.now += 600
    two.worlds[0].step()
    assert two.all() == OLD


@pytest.mark.parametrize("target", ["v2", "latest"])
def test_a_wish_renewed_long_after_a_refusal_waits_for_who_refused(two: Workers, target: str) -> None:
    long_after(two)
    two.aim(target)
    two.worlds[0].step()
    assert two.all() == OLD
    turn(two, 1, 0)
    assert two.all() == OLD


def test_the_successor_of_who_refused_is_waited_for_wherever_it_sits(two: Workers) -> None:
    long_after(two)
    two.seats.alive.discard(1)
    two.worlds[1] = two.join(2)
    refuse(two.worlds[1])
    turn(two, 1, 0)
    assert two.answers(0) == "v1"


@pytest.mark.anyio
async def test_who_wishes_again_what_another_worker_refuses_is_told_so(tmp_path: Path) -> None:
    others = Workers(tmp_path, 1, "m:v1")
    others.settle()
    with live(coordinator=others.view(1), source=others.source, store=others.store) as world:
        await world.data_plane.predict(asked())
        reconciler, until = world.reconciler, world.reconciler.view.wait_until
        others.seats.alive.add(1)
        refuse(others.worlds[0])
        others.source.add("m:v2")
        others.load(0)
        reconciler.wake()
        assert await until(
            lambda: reconciler.observed.slots["m"].prepared is not None and reconciler.view.idle, 5.0
        )
        world.clock.now += 600
        call = asyncio.create_task(world.control.set_target(TargetChange("m", "v2", "ann"), 5.0))
        assert await until(lambda: reconciler.observed.desired.models["m"].target == "v2", 5.0)
        assert others.all() == ["v1"]
        others.load(0)
        reconciler.wake()  # its next look
        with pytest.raises(VersionFailed, match="no memory"):
            await call
        assert others.all() == ["v1"]


def test_after_a_restart_what_served_last_answers_while_one_refuses_what_is_wished(
    two: Workers, tmp_path: Path
) -> None:
    again = Workers(tmp_path / "again", 2)
    again.source, again.store = two.source, two.store
    again.worlds = [again.join(0), again.join(1)]
    refuse(again.worlds[1])
    for _ in range(3):
        turn(again, 0, 1)
    assert again.all() == OLD
    for world in again.worlds:
        world.clock.now += 31
    for _ in range(3):
        turn(again, 0, 1)
    assert again.all() == OLD


def test_a_refusal_needs_no_room_on_the_disk(tmp_path: Path) -> None:
    two = Workers(tmp_path, 2, "m:v1")
    two.settle()
    two.source.add("m:v2")
    refuse(two.worlds[1])
    (tmp_path / "commits" / "m" / "refused-1.tmp").mkdir()  # its text cannot be written
    turn(two, 0, 1, 0)
    two.worlds[0].clock.now += 31
    two.worlds[0].step()
    assert two.all() == OLD


def test_a_worker_that_starts_has_come_to_rest_though_another_refuses(two: Workers) -> None:
    two.worlds[0] = two.join(0)
    turn(two, 0, 0)
    assert two.answers(0) == "v1"
    assert two.worlds[0].reconciler.view.idle
