"""What a request holds, lease and place, and when it gives them back."""

from __future__ import annotations

import asyncio
import threading
import time
from dataclasses import replace

import pytest
from anyio.lowlevel import checkpoint

from hotswap.errors import (
    BadPicture,
    DeadlineExceeded,
    ModelNotFound,
    Overloaded,
    PictureTooLarge,
    VersionNotFound,
)
from hotswap.predictions import Predictions
from tests.hotswap.fakes import PATIENCE
from tests.hotswap.served import Served, tensors
from tests.hotswap.world import asked

pytestmark = pytest.mark.anyio


async def test_a_request_past_its_deadline_keeps_lease_and_permit_until_its_thread_ends() -> None:
    world = Served("m:held", capacity=1)
    world.settle()
    task = world.ask(seconds=0.05)
    await asyncio.to_thread(world.hold.reached)
    with pytest.raises(DeadlineExceeded):
        await task
    generation = world.reconciler.observed.slots["m"].current
    assert generation is not None
    assert (generation.leases, world.admission.inside) == (1, 1)
    with pytest.raises(Overloaded):
        await world.plane.predict(asked())
    await world.end()
    assert generation.leases == 0


async def test_a_full_service_can_be_looked_at() -> None:
    world = Served("m:held", capacity=1)
    world.settle()
    await world.held()
    with pytest.raises(Overloaded):
        await world.plane.predict(asked())
    with await world.plane.borrow(asked()) as generation:
        assert (generation.artifact.tag.version, generation.leases) == ("held", 2)
    with pytest.raises(ModelNotFound):
        await world.plane.borrow(asked("nobody"))
    await world.end()
    assert (generation.leases, world.admission.inside) == (0, 0)


async def test_a_generation_that_retires_under_a_cancelled_request_is_closed_after_its_thread() -> None:
    world = Served("m:held")
    world.settle()
    task = await world.held()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    world.source.add("m:v2")
    world.settle()
    old = world.loader.of("held")
    assert (world.serving(), old.closed) == ("v2", 0)
    await world.end()
    world.background.run_all()
    assert (old.closed, old.misused) == (1, [])


async def test_a_request_that_is_answered_lets_its_retired_generation_close() -> None:
    world = Served("m:held")
    world.settle()
    task = await world.held()
    world.source.add("m:v2")
    world.settle()
    assert world.loader.of("held").closed == 0
    world.hold.let_go()
    assert (await task).version == "held"
    world.settle()
    assert world.loader.of("held").closed == 1
    assert world.reconciler.observed.slots["m"].draining == ()
    await world.end()


async def test_a_cancelled_request_in_the_queue_gives_its_place_back_at_once_and_never_runs() -> None:
    world = Served("m:held", capacity=2)
    world.settle()
    running = await world.held()
    queued = world.ask()
    await checkpoint()
    with pytest.raises(Overloaded):
        await world.plane.predict(asked())
    queued.cancel()
    with pytest.raises(asyncio.CancelledError):
        await queued
    assert world.admission.inside == 1
    world.hold.let_go()
    await running
    await world.end()
    assert world.loader.of("held").served == 1


async def test_a_request_that_is_refused_or_fails_gives_its_place_back() -> None:
    world = Served("m:v1", capacity=1)
    world.loader.fails["v1"] = {"predict": BadPicture("broken")}
    world.settle()
    for wrong in (asked("other"), asked("m", "v9"), asked()):
        with pytest.raises((ModelNotFound, VersionNotFound, BadPicture)):
            await world.plane.predict(wrong)
        assert world.admission.inside == 0
    await world.end()


async def test_running_never_exceeds_the_threads_nor_all_work_the_capacity() -> None:
    world = Served("m:v1", capacity=7, threads=3)
    world.settle()
    runner = world.loader.of("v1")
    outcomes: dict[str, int] = {"answered": 0, "refused": 0, "gone": 0}
    most_inside = 0

    async def client(number: int) -> None:
        nonlocal most_inside
        for turn in range(40):
            task = world.ask()
            await checkpoint()
            most_inside = max(most_inside, world.admission.inside)
            if (number + turn) % 3 == 0:
                task.cancel()
            try:
                await task
                outcomes["answered"] += 1
            except Overloaded:
                outcomes["refused"] += 1
            except asyncio.CancelledError:
                outcomes["gone"] += 1

    await asyncio.gather(*(client(number) for number in range(40)))
    assert sum(outcomes.values()) == 1600
    assert min(outcomes.values()) > 0
    assert most_inside <= 7
    assert runner.most_running <= 3
    await world.end()


async def test_a_request_that_comes_too_late_is_told_so_and_leaves_nothing_behind() -> None:
    world = Served("m:v1")
    world.settle()
    late = replace(asked("m"), deadline=time.monotonic() - 1)
    with pytest.raises(DeadlineExceeded):
        await world.plane.predict(late)
    await world.end()


async def test_what_follows_the_model_runs_in_its_thread_with_lease_and_permit() -> None:
    world = Served("m:v1", capacity=1)
    world.settle()
    generation = world.reconciler.observed.slots["m"].current
    assert generation is not None
    seen: list[tuple[str, int, int, int]] = []

    def then(found: Predictions) -> None:
        thread = threading.current_thread().name
        seen.append((thread, len(found.items), generation.leases, world.admission.inside))

    await world.plane.predict(replace(asked(), then=then))
    assert seen == [("okawari-run-0", 1, 1, 1)]
    assert (generation.leases, world.admission.inside) == (0, 0)
    await world.end()


async def test_what_follows_the_model_is_left_out_when_nobody_waits() -> None:
    world = Served("m:held", capacity=1)
    world.settle()
    called: list[Predictions] = []
    task = asyncio.create_task(world.plane.predict(replace(asked(seconds=0.05), then=called.append)))
    await asyncio.to_thread(world.hold.reached)
    with pytest.raises(DeadlineExceeded):
        await task
    world.hold.let_go()
    await asyncio.to_thread(world.pool.close, PATIENCE)
    assert (called, world.admission.inside) == ([], 0)
    await world.end()


async def test_what_follows_the_model_may_refuse() -> None:
    world = Served("m:v1", capacity=1)
    world.settle()

    def refuse(_: Predictions) -> None:
        raise PictureTooLarge("too wide")

    with pytest.raises(PictureTooLarge, match="too wide"):
        await world.plane.predict(replace(asked(), then=refuse))
    assert world.admission.inside == 0
    await world.end()


async def test_tensors_hold_their_lease_and_place_until_their_thread_ends() -> None:
    world = Served("m:held", capacity=1)
    world.settle()
    task = asyncio.create_task(world.plane.infer(tensors(seconds=0.05)))
    await asyncio.to_thread(world.hold.reached)
    with pytest.raises(DeadlineExceeded):
        await task
    with pytest.raises(Overloaded):
        await world.plane.infer(tensors())
    world.hold.let_go()
    await world.end()
