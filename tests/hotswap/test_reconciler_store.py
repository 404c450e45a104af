"""Stores that lose what they had: nothing that serves is unloaded for it."""

from __future__ import annotations

import pytest

from hotswap.desired import seed
from tests.hotswap.world import World


def serving() -> World:
    """v1 serves as `latest`."""
    world = World("m:v1")
    world.settle()
    return world


def unmoved(world: World) -> bool:
    """Whether v1 serves on, was loaded once and was never closed."""
    world.settle()
    world.clock.now += 100
    world.settle()
    return (world.serving(), len(world.loader.made), world.loader.of("v1").closed) == ("v1", 1, 0)


def test_an_empty_latest_unloads_nothing() -> None:
    world = serving()
    world.source.latest["m"] = None
    assert unmoved(world)
    assert world.reconciler.view.model("m").reason == "latest is empty"


def test_a_latest_that_names_nothing_unloads_nothing() -> None:
    world = serving()
    world.source.latest["m"] = "v9"
    assert unmoved(world)


def test_a_store_that_is_away_unloads_nothing_and_is_seen_again_later() -> None:
    world = serving()
    world.source.away = True
    assert unmoved(world)
    world.source.away = False
    world.source.add("m:v2")
    world.settle()
    assert world.serving() == "v2"


@pytest.mark.parametrize("serve", ["*", "m:latest", "m:v1"])
def test_an_emptied_store_unloads_nothing(serve: str) -> None:
    world = World("m:v1")
    world.store.edit(seed(serve, None))
    world.settle()
    world.source.models.clear()
    world.source.latest.clear()
    assert unmoved(world)


@pytest.mark.parametrize("serve", ["*", "m:latest", "m:v1"])
def test_a_version_whose_files_vanish_serves_on_until_its_target_means_another(serve: str) -> None:
    world = World("m:v1")
    world.store.edit(seed(serve, None))
    world.settle()
    world.source.remove("m:v1")
    assert unmoved(world)
    world.source.add("m:v10")
    world.swap("m", "latest")
    assert world.serving() == "v10"


def test_v1_gone_and_v10_there_is_not_v1() -> None:
    world = World("m:v1")
    world.store.edit(seed("m:v1", None))
    world.settle()
    world.source.remove("m:v1")
    world.source.add("m:v10")
    assert unmoved(world)


def test_a_look_that_raises_stops_nothing_that_serves() -> None:
    world = serving()

    def broken() -> None:
        raise PermissionError("not yours")

    world.source.during_look = broken
    world.settle()
    assert (world.serving(), world.reconciler.observed.trouble) == ("v1", "PermissionError: not yours")


def test_a_store_away_at_start_serves_nothing_until_it_is_there() -> None:
    world = World("m:v1")
    world.source.away = True
    world.settle()
    assert world.serving() is None
    world.source.away = False
    world.settle()
    assert world.serving() == "v1"
