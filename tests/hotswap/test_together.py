"""Several workers switch at one point in time, whoever is stopped, dies, refuses or joins."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from hotswap.desired import seed
from hotswap.errors import VersionFailed
from hotswap.generation import State
from tests.hotswap.fakes import Hold
from tests.hotswap.workers import PLACES, Killed, Workers, kill

OLD, NEW = ["v1", "v1"], ["v2", "v2"]


def test_nobody_switches_before_everybody_has_prepared(two: Workers) -> None:
    two.load(0)
    assert two.all() == OLD
    prepared = two.worlds[0].reconciler.observed.slots["m"].prepared
    assert prepared is not None
    assert (prepared.tag.version, prepared.state) == ("v2", State.PREPARED)
    two.load(1)
    assert two.all() == NEW


def test_a_request_switches_its_worker_by_itself(two: Workers) -> None:
    two.load(0)
    two.load(1)  # decides; the first has not turned since
    assert two.worlds[0].serving() == "v1"
    assert two.answers(0) == "v2"
    assert two.worlds[0].serving() == "v2"
    assert len(two.numbers()) == 1


def test_the_swap_is_observed_once_in_each_worker_under_one_number_and_remembered(two: Workers) -> None:
    two.settle()
    for world in two.worlds:
        assert [(swap.before, swap.after) for swap in world.observer.swaps] == [(None, "v1"), ("v1", "v2")]
    numbers = [[swap.number for swap in world.observer.swaps] for world in two.worlds]
    assert numbers[0] == numbers[1] == sorted(set(numbers[0]))
    model = two.store.read().models["m"]
    assert (model.last_good, {model.generation}) == ("v2", two.numbers())


def test_what_was_replaced_is_closed_in_each_worker(two: Workers) -> None:
    two.settle()
    assert [world.loader.of("v1").closed for world in two.worlds] == [1, 1]
    assert [world.loader.misused for world in two.worlds] == [[], []]


@contextmanager
def stopped(two: Workers, place: str) -> Iterator[None]:
    """The first worker is stopped at that place of its swap to v2 while the test does something else."""
    hold = Hold()
    two.board(0).at = (place, hold.stop_here)
    if place != "before propose":
        two.load(1)  # the other has proposed: the first decides
    thread = threading.Thread(target=two.load, args=[0])
    thread.start()
    hold.reached()
    two.seats.alive.discard(0)
    try:
        yield
    finally:
        two.seats.alive.add(0)
        hold.let_go()
        thread.join()


@pytest.mark.parametrize("place", PLACES)
def test_a_worker_that_is_stopped_anywhere_blocks_nobody_and_answers_from_nothing_that_was_left(
    two: Workers, place: str
) -> None:
    with stopped(two, place):
        assert len(set(two.all())) == 1
        two.settle(1)
        assert two.all() == NEW
    assert two.all() == NEW
    two.settle()
    assert two.all() == NEW
    assert len(two.numbers()) == 1


@pytest.mark.parametrize("place", PLACES)
def test_a_worker_that_is_stopped_while_the_wish_goes_back_brings_back_nothing(
    two: Workers, place: str
) -> None:
    with stopped(two, place):
        two.aim("v1")
        two.settle(1)
        assert two.all() == OLD
    assert two.all() == OLD
    two.settle()
    assert two.all() == OLD


@pytest.mark.parametrize("place", PLACES)
def test_a_worker_that_dies_anywhere_blocks_nobody_and_its_successor_joins(two: Workers, place: str) -> None:
    two.board(0).at = (place, kill)
    if place != "before propose":
        two.load(1)
    with pytest.raises(Killed):
        two.load(0)
    two.seats.alive.discard(0)
    two.settle(1)
    assert two.answers(1) == "v2"
    two.worlds[0] = two.join(0)
    assert two.answers(0) is None
    two.settle()
    assert two.all() == NEW
    assert len(two.numbers()) == 1


def test_what_a_dead_worker_has_decided_is_carried_out_and_not_decided_again(two: Workers) -> None:
    (before,) = two.numbers()
    two.board(0).at = ("after decide", kill)
    two.load(1)
    with pytest.raises(Killed):
        two.load(0)
    two.seats.alive.discard(0)
    two.settle(1)
    assert (two.answers(1), two.worlds[1].number()) == ("v2", before + 1)


def test_a_stopped_worker_that_goes_on_waits_until_it_has_loaded_what_the_others_left_it_for(
    two: Workers,
) -> None:
    two.seats.alive.discard(0)
    two.settle(1)
    assert two.all() == [None, "v2"]
    two.settle()
    assert two.all() == NEW


def test_a_worker_that_joins_late_comes_up_on_what_was_decided(two: Workers) -> None:
    two.aim("v1")
    two.settle()
    two.aim("latest")
    two.load(0)  # prepared v2; the other has not
    two.worlds.append(two.join(2))
    two.settle(2)
    assert (two.answers(2), two.worlds[2].loader.loads[0]) == ("v1", "m:v1")
    two.settle()
    assert two.all() == ["v2", "v2", "v2"]
    assert len(two.numbers()) == 1


def test_what_one_refuses_answers_nowhere_and_the_others_know_why(two: Workers) -> None:
    two.worlds[1].loader.fails["v2"] = {"check": VersionFailed("finds nothing")}
    two.load(0)
    two.load(1)
    two.load(0)
    two.worlds[0].clock.now += 1000
    two.load(0)
    assert two.all() == OLD
    revision = two.store.read().model("m").revision  # type: ignore[union-attr]
    (why,) = two.board(0).refusals("m", "v2", revision)
    assert "finds nothing" in why
    two.worlds[1].loader.fails.clear()
    two.worlds[1].clock.now += 1000
    two.settle()
    assert two.all() == NEW


def test_who_says_nothing_for_long_is_left_behind(two: Workers) -> None:
    two.load(0)
    two.worlds[0].clock.now += 29
    two.load(0)
    assert two.all() == OLD
    two.worlds[0].clock.now += 2
    two.load(0)
    assert two.all() == ["v2", None]
    two.settle()
    assert two.all() == NEW


def test_another_wish_is_followed_by_all_and_frees_what_was_prepared(two: Workers) -> None:
    two.load(0)
    two.source.add("m:v3")
    two.settle()
    assert two.all() == ["v3", "v3"]
    assert two.worlds[0].loader.of("v2").closed == 1
    assert two.worlds[0].loader.of("v2").served == 0


def test_a_new_model_answers_everywhere_at_once(two: Workers) -> None:
    two.source.add("new:v1")
    two.load(0)
    assert [two.answers(index, "new") for index in (0, 1)] == ["model_not_ready", "model_not_found"]
    two.load(1)
    assert [two.answers(index, "new") for index in (0, 1)] == ["v1", "v1"]


def test_what_is_no_longer_wanted_is_unloaded_everywhere_at_once(two: Workers) -> None:
    two.settle()
    two.source.add("other:v1")
    two.settle()
    two.store.edit(seed("other", None))
    two.worlds[0].step()
    assert {two.answers(index) for index in (0, 1)} == {"model_not_ready"}
    two.settle()
    assert [world.loader.of("v2").closed for world in two.worlds] == [1, 1]


def test_a_wish_changed_through_one_worker_is_tried_at_once_in_the_others(two: Workers) -> None:
    two.aim("v1")
    two.settle()
    for world in two.worlds:
        world.loader.fails["v2"] = {"load": VersionFailed("no")}
    two.aim("v2")
    for index in (0, 1, 0, 1):
        two.load(index)
    for world in two.worlds:
        world.loader.fails.clear()
    two.aim("v2")
    two.settle()
    assert two.all() == NEW


def test_a_restart_serves_on_under_the_same_number(tmp_path: Path) -> None:
    first = Workers(tmp_path / "first", 2, "m:v1", "m:v2")
    first.settle()
    again = Workers(tmp_path / "again", 2)
    again.source, again.store = first.source, first.store
    again.worlds = [again.join(0), again.join(1)]
    again.settle()
    assert again.numbers() == first.numbers()
