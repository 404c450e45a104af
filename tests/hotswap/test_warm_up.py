"""Warm-up on request: it runs what the version is checked on, and is a caller like any other."""

from __future__ import annotations

import asyncio
import time

import numpy as np
import pytest

from api.warm_up import WarmUpReport, WarmUps
from hotswap.errors import DeadlineExceeded, ModelNotFound, ModelNotLoaded, Overloaded, VersionNotLoaded
from hotswap.predictions import Trial
from tests.hotswap.fake_models import FakeRunner
from tests.hotswap.fakes import Hold
from tests.hotswap.test_loading_calls import ready
from tests.hotswap.world import LiveWorld, asked, live

pytestmark = pytest.mark.anyio


async def warmed(world: LiveWorld, samples: int = 1, name: str = "m", seconds: float = 30.0) -> WarmUpReport:
    """Warm a model up."""
    return await WarmUps(world.data_plane).run(name, samples, "r", time.monotonic() + seconds)


async def held(world: LiveWorld) -> Hold:
    """A version whose runner stands still serves."""
    await ready(world, "v1")
    hold = world.loader.holds["held"] = Hold()
    world.source.add("m:held")
    assert await world.control.load("m", "ann", 5.0)
    return hold


async def test_each_sample_is_an_inference_of_the_version_that_serves() -> None:
    with live("m:v1", "m:v2") as world:
        await ready(world, "v2")
        report = await warmed(world, 7)
        assert (str(report.tag), len(report.latencies_ms)) == ("m:v2", 7)
        assert report.total_ms >= sum(report.latencies_ms) > 0
        assert (world.loader.of("v2").served, world.loader.of("v2").most_running) == (7, 1)
        assert world.data_plane.admission.inside == 0
        current = world.reconciler.observed.slots["m"].current
        assert current is not None
        assert current.leases == 0


async def test_tensors_are_run_where_a_version_takes_no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    trials = [Trial(tensors={"x": np.zeros((3, 2), np.float32)})]
    monkeypatch.setattr(FakeRunner, "trials", lambda _: trials)
    monkeypatch.setattr(FakeRunner, "predict", None)
    with live("m:v1") as world:
        await ready(world, "v1")
        assert len((await warmed(world, 2)).latencies_ms) == 2


async def test_what_does_not_serve_cannot_be_warmed_up() -> None:
    with live("m:v1") as world:
        await ready(world, "v1")
        with pytest.raises(ModelNotFound):
            await warmed(world, name="n")
        assert await world.control.unload("m", "ann", 5.0)
        with pytest.raises(ModelNotLoaded):
            await warmed(world)


async def test_it_ends_with_its_deadline_and_says_how_far_it_came() -> None:
    with live("m:v1") as world:
        hold = await held(world)
        with pytest.raises(DeadlineExceeded, match="0 of 5 samples of m:held"):
            await warmed(world, 5, seconds=0.05)
        hold.let_go()


async def test_a_full_service_warms_nothing_up() -> None:
    with live("m:v1", capacity=1) as world:
        await ready(world, "v1")
        permit = world.data_plane.admission.enter()
        with pytest.raises(Overloaded):
            await warmed(world)
        permit.release()
        assert len((await warmed(world)).latencies_ms) == 1


async def test_a_swap_does_not_wait_for_it_and_ends_it() -> None:
    with live("m:v1") as world:
        hold = await held(world)
        warming = asyncio.create_task(warmed(world, 1000))
        await asyncio.to_thread(hold.reached)
        world.source.add("m:v2")
        assert await world.control.load("m", "ann", 5.0)
        assert (await world.data_plane.predict(asked())).version == "v2"
        hold.let_go()
        with pytest.raises(VersionNotLoaded, match="m:held stopped serving after 1 of 1000"):
            await warming
