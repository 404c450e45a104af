"""Waiting for a model that is on its way, in a worker that the others went on without."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from hotswap.dataplane import ModelWait
from hotswap.errors import ModelNotFound, VersionNotFound
from tests.hotswap.workers import Workers
from tests.hotswap.world import asked, live

pytestmark = pytest.mark.anyio


async def test_what_the_other_workers_switched_to_is_on_its_way_and_is_looked_for(
    tmp_path: Path,
) -> None:
    others = Workers(tmp_path, 1, "m:v1")
    others.settle()
    with live(coordinator=others.view(1), source=others.source, store=others.store) as world:
        await world.data_plane.predict(asked())
        arriving = ModelWait(world.data_plane, world.reconciler.view, world.reconciler.schedule)
        assert arriving.serves("m", None)
        held = world.loader.holds_load("v2")
        others.source.add("m:v2")
        others.settle()
        assert not arriving.serves("m", None)
        waiting = asyncio.create_task(arriving.wait_until_servable("m", None, time.monotonic() + 5))
        await asyncio.to_thread(held.reached)
        assert (waiting.done(), arriving.waiting) == (False, 1)
        held.let_go()
        await waiting
        assert arriving.serves("m", "v2")
        assert arriving.waiting == 0


async def test_what_does_not_exist_is_not_waited_for() -> None:
    with live("m:v1") as world:
        await world.control.reload()
        arriving = ModelWait(world.data_plane, world.reconciler.view, world.reconciler.schedule)
        await arriving.wait_until_servable("m", None, time.monotonic() + 5)
        for wrong, error in ((("nobody", None), ModelNotFound), (("m", "v9"), VersionNotFound)):
            with pytest.raises(error):
                await arriving.wait_until_servable(*wrong, time.monotonic() + 5)
        assert arriving.waiting == 0
