"""Load and unload: a model stops answering and answers again, and the wish outlives the process."""

from __future__ import annotations

import asyncio

import pytest

from hotswap.control import TargetChange
from hotswap.desired import DesiredState, seed, set_loaded, set_target
from hotswap.errors import ModelNotFound, ModelNotLoaded, VersionFailed, VersionNotLoaded
from tests.hotswap.fakes import Hold
from tests.hotswap.world import LiveWorld, asked, live

pytestmark = pytest.mark.anyio


async def ready(world: LiveWorld, version: str) -> None:
    """Wait until a version serves and nothing moves."""
    assert await world.reconciler.view.wait_until(
        lambda: world.reconciler.view.idle and world.serving() == version, 5.0
    )


async def test_an_unloaded_model_answers_nobody_until_it_is_loaded() -> None:
    with live("m:v1", "m:v2") as world:
        await ready(world, "v2")
        assert await world.control.unload("m", "ann", 5.0)
        assert world.serving() is None
        with pytest.raises(ModelNotLoaded):
            await world.data_plane.predict(asked())
        with pytest.raises(VersionNotLoaded):
            await world.data_plane.predict(asked(version="v2"))
        wish = world.store.read().models["m"]
        assert (wish.unloaded, wish.target, wish.actor, wish.reason) == (True, "latest", "ann", "unload")
        assert "unloaded" in str(world.reconciler.view.model("m").reason)
        assert await world.control.load("m", "ben", 5.0)
        assert world.reconciler.view.model("m").reason is None
        assert (await world.data_plane.predict(asked())).version == "v2"


async def test_a_target_stays_through_unload_and_load() -> None:
    with live("m:v1", "m:v2") as world:
        await ready(world, "v2")
        assert await world.control.set_target(TargetChange("m", "v1", "ann"), 5.0)
        assert await world.control.unload("m", "ann", 5.0)
        assert await world.control.load("m", "ann", 5.0)
        assert (world.serving(), world.store.read().models["m"].target) == ("v1", "v1")


async def test_who_has_a_lease_when_the_model_is_unloaded_is_answered() -> None:
    with live("m:v1") as world:
        await ready(world, "v1")
        hold = world.loader.holds["held"] = Hold()
        world.source.add("m:held")
        assert await world.control.load("m", "ann", 5.0)
        task = asyncio.create_task(world.data_plane.predict(asked()))
        await asyncio.to_thread(hold.reached)
        assert await world.control.unload("m", "ann", 5.0)
        assert world.loader.of("held").closed == 0
        hold.let_go()
        assert (await task).version == "held"


async def test_a_load_that_fails_leaves_what_serves_and_puts_the_wish_back() -> None:
    with live("m:v1") as world:
        await ready(world, "v1")
        world.loader.fails["v2"] = {"check": VersionFailed("it sees nothing")}
        world.source.add("m:v2")
        before = world.store.read().models.get("m")
        with pytest.raises(VersionFailed, match="it sees nothing"):
            await world.control.load("m", "ann", 5.0)
        after = world.store.read().models["m"]
        assert world.serving() == "v1"
        assert (after.target, after.actor) == ("latest", before.actor if before else None)
        world.loader.fails.clear()
        assert await world.control.load("m", "ann", 5.0)
        assert world.serving() == "v2"


async def test_a_model_that_was_unloaded_stays_so_when_its_loading_fails() -> None:
    with live("m:v1") as world:
        await ready(world, "v1")
        assert await world.control.unload("m", "ann", 5.0)
        world.loader.fails["v2"] = {"load": VersionFailed("broken")}
        world.source.add("m:v2")
        with pytest.raises(VersionFailed, match="broken"):
            await world.control.load("m", "ann", 5.0)
        assert world.store.read().models["m"].unloaded
        assert await world.reconciler.view.wait_until(lambda: world.serving() is None, 5.0)


async def test_a_load_that_takes_longer_goes_on_after_the_call() -> None:
    with live("m:v1") as world:
        await ready(world, "v1")
        assert await world.control.unload("m", "ann", 5.0)
        hold = world.loader.holds_load("v1")
        try:
            assert not await world.control.load("m", "ann", 0.02)
        finally:
            hold.let_go()
        assert await world.reconciler.view.wait_until(lambda: world.serving() == "v1", 5.0)


async def test_unloading_does_not_try_again_what_has_failed_elsewhere() -> None:
    with live("m:v1", "other:v9") as world:
        world.loader.fails["v9"] = {"load": VersionFailed("broken")}
        await ready(world, "v1")
        tries = world.loader.loads.count("other:v9")
        assert tries == 1
        assert await world.control.unload("m", "ann", 5.0)
        assert await world.reconciler.view.wait_until(lambda: world.reconciler.view.idle, 5.0)
        assert world.loader.loads.count("other:v9") == tries


async def test_what_nobody_knows_is_neither_loaded_nor_unloaded() -> None:
    with live("m:v1") as world:
        await ready(world, "v1")
        for call in (world.control.load, world.control.unload):
            with pytest.raises(ModelNotFound):
                await call("nobody", "ann", 5.0)
        assert set(world.store.read().models) <= {"m"}


async def test_a_target_without_a_version_cannot_be_loaded() -> None:
    with live("m:v1") as world:
        await ready(world, "v1")
        world.aim("m", "v7")
        with pytest.raises(VersionFailed, match="m:v7"):
            await world.control.load("m", "ann", 5.0)
        assert world.serving() == "v1"


def test_an_unloaded_model_stays_so_through_a_restart_and_answers_with_a_new_target() -> None:
    document = seed("*", None)(DesiredState())
    document = set_loaded("m", False, "ann", None)(document)
    again = seed("*", None)(DesiredState.model_validate_json(document.model_dump_json()))
    wish = again.model("m")
    assert wish is not None
    assert wish.unloaded
    wish = set_target("m", "v1", "ann", None)(again).model("m")
    assert wish is not None
    assert not wish.unloaded


def test_a_model_that_was_not_wanted_is_wanted_once_it_is_loaded() -> None:
    document = seed("a", None)(DesiredState())
    assert document.model("m") is None
    wish = set_loaded("m", True, "ann", None)(document).model("m")
    assert wish is not None
    assert (wish.target, wish.unloaded) == ("latest", False)


async def test_a_required_model_that_was_unloaded_is_refused_as_any_other() -> None:
    with live("m:v1") as world:
        world.store.edit(seed("m", None))
        world.reconciler.wake()
        await ready(world, "v1")
        assert await world.control.unload("m", "ann", 5.0)
        assert world.reconciler.view.required == ("m",)
        with pytest.raises(ModelNotLoaded):
            await world.data_plane.predict(asked())
