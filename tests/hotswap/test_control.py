"""Management calls: each edits the desired state and waits for what comes of it."""

from __future__ import annotations

import asyncio

import pytest

from hotswap.control import TargetChange
from hotswap.desired import seed, set_target
from hotswap.errors import (
    BadRequest,
    Conflict,
    ModelNotFound,
    ServingError,
    StateUnavailable,
    VersionFailed,
    VersionNotFound,
)
from hotswap.repository import Incomplete
from manifest.tags import ModelTag
from tests.hotswap.fakes import Hold
from tests.hotswap.test_reconciler_trouble import BrokenStore
from tests.hotswap.world import LiveWorld, live

pytestmark = pytest.mark.anyio


async def ready(world: LiveWorld) -> None:
    """Wait until the world has come to rest."""
    assert await world.reconciler.view.wait_until(
        lambda: (
            world.reconciler.schedule.ended > 0 and world.reconciler.view.idle and world.serving() is not None
        ),
        5.0,
    )


def target(world: LiveWorld) -> str:
    """What the desired state says of m."""
    wish = world.store.read().model("m")
    assert wish is not None
    return wish.target


async def test_a_target_that_can_serve_serves_when_the_call_returns() -> None:
    with live("m:v1", "m:v2") as world:
        await ready(world)
        assert await world.control.set_target(TargetChange("m", "v1", "ann", reason="boxes"), 5.0)
        wish = world.store.read().models["m"]
        assert (world.serving(), wish.target, wish.actor, wish.reason) == ("v1", "v1", "ann", "boxes")
        assert await world.control.set_target(TargetChange("m", "latest", "ann"), 5.0)
        assert (world.serving(), target(world)) == ("v2", "latest")


async def test_an_integer_target_means_vn() -> None:
    with live("m:v1", "m:v2") as world:
        await ready(world)
        assert await world.control.set_target(TargetChange("m", "1", "ann"), 5.0)
        assert target(world) == "v1"


async def test_a_version_that_the_reconciler_has_not_seen_yet_is_found_by_the_call_itself() -> None:
    with live("m:v1") as world:
        await ready(world)
        world.source.add("m:v2", latest=False)
        assert await world.control.set_target(TargetChange("m", "v2", "ann"), 5.0)
        assert world.serving() == "v2"


async def test_a_swap_that_takes_longer_goes_on_after_the_call_has_returned() -> None:
    with live("m:v1") as world:
        await ready(world)
        hold = Hold()
        world.loader.before_load = lambda _: hold.stop_here()
        world.source.add("m:v2", latest=False)
        try:
            assert not await world.control.set_target(TargetChange("m", "v2", "ann"), 0.02)
            assert (world.serving(), target(world)) == ("v1", "v2")
        finally:
            hold.let_go()
        assert await world.reconciler.view.wait_until(lambda: world.serving() == "v2", 5.0)


async def test_a_version_that_is_not_whole_yet_is_waited_for_and_never_put_back() -> None:
    with live("m:v1") as world:
        await ready(world)
        world.source.add("m:v2", latest=False)
        world.source.settled[ModelTag("m", "v2")] = Incomplete("still copied")
        assert not await world.control.set_target(TargetChange("m", "v2", "ann"), 0.02)
        assert target(world) == "v2"


async def test_a_version_that_fails_is_refused_with_its_reason_and_the_target_put_back() -> None:
    with live("m:v1") as world:
        await ready(world)
        world.source.add("m:v2", latest=False)
        world.loader.fails["v2"] = {"check": VersionFailed("scores are NaN")}
        with pytest.raises(VersionFailed, match="scores are NaN"):
            await world.control.set_target(TargetChange("m", "v2", "ann"), 5.0)
        assert (world.serving(), target(world)) == ("v1", "latest")
        # Whoever asks next is told so, too, and not the target of a moment before.
        shown = world.reconciler.observed.desired.model("m")
        assert shown is not None
        assert shown.target == target(world)


async def test_a_failed_target_that_cannot_be_put_back_is_told_with_its_reason() -> None:
    store = BrokenStore()

    def fill(_: ModelTag) -> None:
        store.read_only = True

    with live("m:v1", store=store) as world:
        await ready(world)
        world.source.add("m:v2", latest=False)
        world.loader.fails["v2"] = {"load": VersionFailed("no memory")}
        world.loader.before_load = fill
        with pytest.raises(StateUnavailable, match=r"no memory; it is still the target.*no space left"):
            await world.control.set_target(TargetChange("m", "v2", "ann"), 5.0)
        assert (world.serving(), target(world)) == ("v1", "v2")


async def test_a_failed_target_that_somebody_changed_meanwhile_is_not_put_back() -> None:
    with live("m:v1", "m:v3", "m:v2") as world:
        await ready(world)
        world.loader.fails["v1"] = {"check": VersionFailed("scores are NaN")}

        def change(*_: object) -> None:
            world.store.edit(set_target("m", "v3", "bob", None))

        world.observer.failed = change  # type: ignore[assignment]
        with pytest.raises(VersionFailed):
            await world.control.set_target(TargetChange("m", "v1", "ann"), 5.0)
        assert target(world) == "v3"
        assert await world.reconciler.view.wait_until(lambda: world.serving() == "v3", 5.0)


async def test_a_model_that_was_not_wanted_is_not_loaded_after_its_target_was_refused() -> None:
    with live("m:v1") as world:
        await ready(world)
        world.store.edit(seed("m:v1", None))
        world.source.add("other:v1")
        world.source.add("other:v2", latest=False)
        world.loader.fails["v2"] = {"check": VersionFailed("scores are NaN")}
        with pytest.raises(VersionFailed):
            await world.control.set_target(TargetChange("other", "v2", "ann"), 5.0)
        await world.control.reload()
        assert await world.reconciler.view.wait_until(lambda: world.reconciler.view.idle, 5.0)
        assert world.serving("other") is None


async def test_a_failed_version_is_tried_anew_by_the_call_whatever_its_back_off() -> None:
    with live("m:v1") as world:
        await ready(world)
        world.source.add("m:v2", latest=False)
        world.loader.fails["v2"] = {"check": VersionFailed("scores are NaN")}
        with pytest.raises(VersionFailed):
            await world.control.set_target(TargetChange("m", "v2", "ann"), 5.0)
        world.loader.fails.clear()
        assert await world.control.set_target(TargetChange("m", "v2", "ann"), 5.0)


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (TargetChange("nobody", "v1", "ann"), ModelNotFound),
        (TargetChange("m", "v9", "ann"), VersionNotFound),
        (TargetChange("m", "../v1", "ann"), BadRequest),
        (TargetChange("m", "v2", "ann", expected_current="v2"), Conflict),
    ],
)
async def test_a_call_that_cannot_be_meant_changes_nothing(
    change: TargetChange, error: type[ServingError]
) -> None:
    with live("m:v1") as world:
        await ready(world)
        world.source.add("m:v2", latest=False)
        before = world.store.read()
        with pytest.raises(error):
            await world.control.set_target(change, 5.0)
        assert world.store.read() == before


@pytest.mark.parametrize("expected", ["v1", "1"])
async def test_a_call_that_expects_what_serves_goes_through(expected: str) -> None:
    with live("m:v1") as world:
        await ready(world)
        world.source.add("m:v2", latest=False)
        change = TargetChange("m", "v2", "ann", expected_current=expected)
        assert await world.control.set_target(change, 5.0)


async def test_of_two_calls_that_expect_the_same_the_later_meets_a_conflict() -> None:
    with live("m:v2", "m:v3", "m:v1") as world:
        await ready(world)
        change = TargetChange("m", "v2", "ann", expected_current="v1")
        assert await world.control.set_target(change, 5.0)
        with pytest.raises(Conflict, match="served by v2, not by v1"):
            await world.control.set_target(change, 5.0)


async def test_a_store_that_is_away_is_answered_from_what_was_seen_last() -> None:
    with live("m:v1", "m:v2") as world:
        await ready(world)
        world.source.away = True
        assert await world.control.set_target(TargetChange("m", "v1", "ann"), 5.0)


async def test_reload_returns_after_a_look_that_began_after_the_call() -> None:
    with live("m:v1") as world:
        await ready(world)
        world.source.add("m:v2")
        before = world.source.looks
        await world.control.reload()
        assert world.source.looks > before
        assert "v2" in world.reconciler.observed.models["m"].versions


async def test_waiting_for_what_never_comes_ends_in_time() -> None:
    with live("m:v1") as world:
        assert not await world.reconciler.view.wait_until(lambda: False, 0.01)


def test_a_loop_that_ended_while_it_waited_stops_no_step() -> None:
    with live("m:v1") as world:
        view = world.reconciler.view

        async def leave() -> None:
            waiting = asyncio.ensure_future(view.wait_until(lambda: False, 60.0))
            await asyncio.sleep(0)
            wakers.extend(view._waiters)
            waiting.cancel()

        wakers: list[object] = []
        asyncio.run(leave())
        view._waiters.update(wakers)  # type: ignore[arg-type]
        world.reconciler.step()
        assert world.reconciler.schedule.ended > 0
