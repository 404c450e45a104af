"""A management call that meets a step, a load or another call half way."""

from __future__ import annotations

import asyncio

import pytest
from anyio import wait_all_tasks_blocked
from anyio.lowlevel import checkpoint

from hotswap.control import Control, TargetChange
from hotswap.desired import set_target
from hotswap.errors import Superseded, VersionFailed
from manifest.tags import ModelTag
from tests.hotswap.fakes import Hold
from tests.hotswap.test_control import ready, target
from tests.hotswap.world import LiveWorld, World, live

pytestmark = pytest.mark.anyio

V2 = TargetChange("m", "v2", "ann")


class StoppedLook:
    """Stops the reconciler's thread inside its look, and nobody else's."""

    def __init__(self, world: LiveWorld) -> None:
        self.hold = Hold()
        self._thread = world.turning._thread
        world.source.during_look = self._stop

    def _stop(self) -> None:
        import threading

        if threading.current_thread() is self._thread:
            self.hold.stop_here()


async def failed(world: LiveWorld) -> None:
    """v1 serves; v2 was refused and is mended now."""
    await ready(world)
    world.source.add("m:v2", latest=False)
    world.loader.fails["v2"] = {"check": VersionFailed("scores are NaN")}
    with pytest.raises(VersionFailed):
        await world.control.set_target(V2, 5.0)
    assert await world.reconciler.view.wait_until(lambda: world.reconciler.view.idle, 5.0)
    world.loader.fails.clear()


async def asked_to_look(world: LiveWorld) -> None:
    """Wait until the call has written its wish and asked for a look."""
    async with asyncio.timeout(20.0):
        while target(world) != "v2" or not world.reconciler.schedule._retries:
            await checkpoint()


async def test_a_step_under_way_when_the_edit_comes_does_not_report_an_old_failure() -> None:
    with live("m:v1") as world:
        await failed(world)
        look = StoppedLook(world)
        world.reconciler.wake()
        await asyncio.to_thread(look.hold.reached)
        call = asyncio.create_task(world.control.set_target(V2, 5.0))
        await asked_to_look(world)
        ended = Hold()
        world.reconciler.on_step.append(ended.stop_here)
        look.hold.let_go()
        await asyncio.to_thread(ended.reached)
        await wait_all_tasks_blocked()
        assert not call.done()
        ended.let_go()
        assert await call
        assert world.serving() == "v2"


async def test_a_call_that_ends_before_any_look_does_not_report_an_old_failure() -> None:
    with live("m:v1") as world:
        await failed(world)
        look = StoppedLook(world)
        world.reconciler.wake()
        await asyncio.to_thread(look.hold.reached)
        try:
            assert not await world.control.set_target(V2, 0.0)
            assert target(world) == "v2"
        finally:
            look.hold.let_go()
        assert await world.reconciler.view.wait_until(lambda: world.serving() == "v2", 5.0)


async def test_a_try_that_began_before_the_call_does_not_answer_for_it() -> None:
    with live("m:v1") as world:
        await failed(world)
        hold = Hold()
        world.loader.fails["v2"] = {"check": VersionFailed("old weights")}
        world.loader.before_load = lambda _: hold.stop_here()
        world.store.edit(set_target("m", "v2", "bob", None))
        world.reconciler.schedule.retry(ModelTag("m", "v2"))
        await asyncio.to_thread(hold.reached)
        call = asyncio.create_task(world.control.set_target(V2, 5.0))
        async with asyncio.timeout(20.0):
            while world.store.read().models["m"].actor != "ann" or not world.reconciler._queue.again:
                await checkpoint()
        world.loader.before_load = lambda _: world.loader.fails.clear()
        hold.let_go()
        assert await call


class StepsWhenAsked(World):
    """Every request to look again is met by a step that began just before it."""

    def __init__(self, *tags: str) -> None:
        super().__init__(*tags)
        self.control = Control(self.reconciler.view, self.reconciler.schedule, self.store, self.source)
        forgive = self.reconciler.schedule._retries

        class Late(type(forgive)):  # type: ignore[misc]
            """A step slips in before the asking is written down."""

            def append(late, tag: ModelTag | None) -> None:
                self.reconciler.step()
                super().append(tag)

        self.reconciler.schedule._retries = Late()


async def test_a_step_that_slips_in_before_the_asking_is_not_taken_for_the_look_asked_for() -> None:
    world = StepsWhenAsked("m:v1")
    world.settle()
    world.source.add("m:v2", latest=False)
    world.loader.fails["v2"] = {"check": VersionFailed("scores are NaN")}
    world.swap("m", "v2")
    world.loader.fails.clear()
    assert not await world.control.set_target(V2, 0.0)
    world.settle()
    assert (world.serving(), world.store.read().models["m"].target) == ("v2", "v2")


async def test_many_calls_at_once_leave_what_the_last_edit_wished() -> None:
    with live("m:v1", "m:v2", "m:v3") as world:
        await ready(world)
        changes = [TargetChange("m", f"v{number % 3 + 1}", "ann") for number in range(30)]
        calls = (world.control.set_target(change, 0.5) for change in changes)
        outcomes = await asyncio.gather(*calls, return_exceptions=True)
        assert all(isinstance(outcome, bool | Superseded) for outcome in outcomes)
        assert await world.reconciler.view.wait_until(
            lambda: world.reconciler.view.idle and world.serving() == target(world), 5.0
        )
        assert world.store.read().revision == 30
