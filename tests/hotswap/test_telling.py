"""What serves is remembered, as soon as that is possible."""

from __future__ import annotations

import logging

import pytest

from hotswap.desired import set_loaded
from tests.hotswap.test_reconciler_trouble import BrokenStore
from tests.hotswap.world import World


def remembered(store: BrokenStore) -> tuple[str | None, int]:
    """What the desired state says has served last, and under which number."""
    wish = store.read().models["m"]
    return wish.last_good, wish.generation


@pytest.fixture
def world() -> World:
    """v2 serves, and nothing but v1 could be remembered."""
    store = BrokenStore()
    world = World("m:v1", store=store)
    world.settle()
    store.read_only = True
    world.source.add("m:v2")
    world.settle()
    assert (world.serving(), remembered(store)) == ("v2", ("v1", 1))
    return world


def test_what_could_not_be_remembered_is_tried_again_at_the_next_look(world: World) -> None:
    assert isinstance(world.store, BrokenStore)
    world.store.read_only = False
    world.step()
    assert remembered(world.store) == ("v2", 2)


def test_what_cannot_be_remembered_is_warned_of_once(caplog: pytest.LogCaptureFixture, world: World) -> None:
    assert isinstance(world.store, BrokenStore)
    caplog.set_level(logging.WARNING)
    world.source.add("m:v3")
    world.settle()
    for _ in range(3):
        world.step()
    assert [record.getMessage() for record in caplog.records] == [
        "cannot store that m:v3 serves: no space left"
    ]


def test_the_same_trouble_is_warned_of_again_once_it_was_over(
    caplog: pytest.LogCaptureFixture, world: World
) -> None:
    assert isinstance(world.store, BrokenStore)
    caplog.set_level(logging.WARNING)
    world.store.read_only = False
    for loaded in (False, True):
        world.settle()
        world.store.edit(set_loaded("m", loaded, "test", None))
    world.store.read_only = True
    world.settle()
    assert [record.getMessage() for record in caplog.records] == [
        "cannot store that m:v2 serves: no space left"
    ]
