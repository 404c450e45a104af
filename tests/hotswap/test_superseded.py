"""A management call whose edit is superseded is told so at once, and by whom."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from hotswap.control import Control, TargetChange
from hotswap.desired import set_loaded, set_target
from hotswap.errors import Superseded
from tests.hotswap.fakes import Hold
from tests.hotswap.test_control import ready, target
from tests.hotswap.world import LiveWorld, live

pytestmark = pytest.mark.anyio

#: Longer than a test may last: whoever waits for it shows.
LONG = 60.0


async def loading(world: LiveWorld) -> tuple[asyncio.Task[bool], Hold]:
    """v1 serves; ann wants v2, whose load stands still, and waits for it."""
    await ready(world)
    world.source.add("m:v2", latest=False)
    hold = world.loader.holds_load("v2")
    call = asyncio.create_task(world.control.set_target(TargetChange("m", "v2", "ann"), LONG))
    await asyncio.to_thread(hold.reached)
    return call, hold


async def told(call: Awaitable[bool]) -> str:
    async with asyncio.timeout(20.0):
        with pytest.raises(Superseded) as superseded:
            await call
    return superseded.value.message


async def test_by_a_call_of_the_same_process() -> None:
    with live("m:v1") as world:
        call, hold = await loading(world)
        try:
            assert await world.control.set_target(TargetChange("m", "v1", "bob", reason="v2 is late"), LONG)
            said = await told(call)
        finally:
            hold.let_go()
        assert said == "m:v2 was superseded: since revision 2 bob wants m:v1 (v2 is late)"
        assert (world.serving(), target(world)) == ("v1", "v1")


async def test_by_an_edit_of_another_process_when_a_look_sees_it() -> None:
    with live("m:v1") as world:
        call, hold = await loading(world)
        try:
            world.store.edit(set_target("m", "latest", "cli:eve", None))
            world.reconciler.wake()  # here the service would look by itself soon
            said = await told(call)
        finally:
            hold.let_go()
        assert said == "m:v2 was superseded: since revision 2 cli:eve wants m:latest"


async def test_by_the_unloading_of_the_model() -> None:
    with live("m:v1") as world:
        call, hold = await loading(world)
        try:
            assert await world.control.unload("m", "bob", LONG)
            said = await told(call)
        finally:
            hold.let_go()
        assert said == "m:v2 was superseded: since revision 2 bob wants it unloaded (unload)"


async def test_the_same_wish_again_overtakes_nobody() -> None:
    with live("m:v1") as world:
        call, hold = await loading(world)
        second = asyncio.create_task(world.control.set_target(TargetChange("m", "v2", "bob"), LONG))
        seen = world.reconciler.view.wait_until(lambda: world.reconciler.observed.desired.revision == 2, 5.0)
        try:
            assert await seen
        finally:
            hold.let_go()
        assert await asyncio.gather(call, second) == [True, True]


class Unanswered(Control):
    """Sees the model answer for as long as `still` says, as where another worker is slow to let go."""

    still: Callable[[], bool] = staticmethod(lambda: True)

    def _serves_nothing(self, name: str) -> bool:
        return not self.still() and super()._serves_nothing(name)


async def test_an_unloading_by_a_load() -> None:
    with live("m:v1") as world:
        await ready(world)
        control = Unanswered(world.reconciler.view, world.reconciler.schedule, world.store, world.source)
        call = asyncio.create_task(control.unload("m", "ann", LONG))
        assert await world.reconciler.view.wait_until(lambda: world.serving() is None, 5.0)
        world.store.edit(set_loaded("m", True, "bob", "load"))
        world.reconciler.wake()
        assert await told(call) == "unloading m was superseded: since revision 2 bob wants m:latest (load)"
