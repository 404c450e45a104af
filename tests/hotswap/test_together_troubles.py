"""Workers that meet a lost version or the words of the dead: they go on."""

from __future__ import annotations

import threading

import pytest

from tests.hotswap.fakes import Hold
from tests.hotswap.test_together_refusals import refuse, turn
from tests.hotswap.workers import Workers

OLD, NEW = ["v1", "v1"], ["v2", "v2"]


# --- who was left behind, who died ---------------------------------------------------------------


def test_all_go_back_at_once_to_what_one_that_was_left_behind_still_holds(two: Workers) -> None:
    two.seats.alive.discard(0)
    two.settle(1)
    refuse(two.worlds[0])
    two.seats.alive.add(0)
    turn(two, 0, 1, 0)
    assert two.all() == [None, "v2"]
    two.aim("v1")
    for _ in range(3):
        turn(two, 0, 1)
    assert two.all() == OLD


def test_what_a_dead_worker_has_proposed_does_not_count_for_its_successor(two: Workers) -> None:
    two.load(0)
    two.worlds[0] = two.join(0)
    successor = two.worlds[0]
    successor.step()
    successor.background.run()
    successor.step()
    assert two.answers(0) == "v1"
    two.load(1)
    assert two.all() == OLD


def test_who_was_left_behind_decides_nothing_before_it_has_looked(two: Workers) -> None:
    two.load(0)
    two.seats.alive.discard(0)
    two.source.add("m:v3")
    two.settle(1)
    two.seats.alive.add(0)
    first = two.worlds[0]
    first.clock.now += 31  # longer than anybody is waited for
    first.reconciler.wait(0.0)  # nobody has woken it
    first.reconciler.wait(0.05)
    assert two.all() == [None, "v3"]
    two.settle()
    assert two.all() == ["v3", "v3"]


# --- what is decided stays -----------------------------------------------------------------------


def test_wishes_given_up_again_and_again_leave_what_holds_to_who_joins(two: Workers) -> None:
    refuse(two.worlds[1])
    for _ in range(17):
        two.aim("v2")
        turn(two, 0, 1, 0)
        two.aim("v1")
        turn(two, 0, 1)
    assert two.all() == OLD
    two.worlds[1] = two.join(1)
    turn(two, 1, 0)
    assert two.all() == OLD


def test_what_was_given_up_long_ago_is_not_decided_after_all(two: Workers) -> None:
    hold = Hold()
    two.board(0).at = ("before decide", hold.stop_here)
    two.load(1)
    thread = threading.Thread(target=two.load, args=[0])
    thread.start()
    hold.reached()
    two.seats.alive = {1, 2}  # the first is stopped; a third says nothing, so that nothing is decided
    for _ in range(17):
        two.aim("v1")
        two.load(1)
        two.aim("v2")
        two.load(1)
    assert two.answers(1) == "v1"
    hold.let_go()
    thread.join()
    assert two.answers(1) == "v1"


@pytest.mark.parametrize("lost", ["gone from the store", "cannot be loaded"])
@pytest.mark.parametrize("target", ["v1", "latest"])
def test_when_all_have_lost_what_they_answer_with_another_wish_is_followed(
    two: Workers, lost: str, target: str
) -> None:
    two.settle()
    assert two.all() == NEW
    two.worlds = [two.join(0), two.join(1)]
    if lost == "gone from the store":
        two.source.remove("m:v2")
    for world in two.worlds:
        refuse(world)
    two.source.latest["m"] = "v1"
    two.aim(target)
    for _ in range(5):
        turn(two, 0, 1)
    assert two.all() == OLD
