"""Whose turn it is to take a connection, by counts and a clock in the hand."""

from __future__ import annotations

import pytest

from serving.turns import AWAY, PATIENCE, Turns, accepting


def test_who_is_alone_takes_what_waits() -> None:
    assert Turns().allowed(1000, {}, 0.0) > 1


@pytest.mark.parametrize(
    ("mine", "others", "allowed"),
    [
        (0, {1: 0}, 1),
        (0, {1: 1}, 2),
        (3, {1: 7}, 5),
        (7, {1: 3}, 0),
        (1, {1: 0}, 0),
        (5, {1: 9, 2: 4, 3: 9}, 0),
        (5, {1: 9, 2: 5, 3: 9}, 1),
        (32, {1: 32}, 5),
        (37, {1: 32}, 0),
    ],
)
def test_the_fewest_come_first_and_nobody_takes_much_more_than_its_share(
    mine: int, others: dict[int, int], allowed: int
) -> None:
    assert Turns().allowed(mine, others, 0.0) == allowed


def test_what_another_does_not_take_is_taken_after_a_moment() -> None:
    turns, others = Turns(), {1: 0}
    assert turns.allowed(1, others, 10.0) == 0
    assert turns.allowed(1, others, 10.0 + 0.9 * PATIENCE) == 0
    assert turns.allowed(1, others, 10.0 + PATIENCE) == 1
    assert turns.allowed(2, others, 10.0 + 1.9 * PATIENCE) == 0


def _taken(turns: Turns, others: dict[int, int], rounds: int) -> list[int]:
    return [taken for at in range(2 * rounds) if (taken := turns.allowed(99, others, at * PATIENCE / 2)) > 0]


def test_one_that_never_takes_any_holds_up_less_and_less() -> None:
    turns = Turns()
    assert _taken(turns, {1: 0}, 4) == [1, 2, 4]
    assert sum(_taken(turns, {1: 0}, 20)) > 500


def test_one_that_moves_again_is_trusted_again() -> None:
    turns = Turns()
    assert _taken(turns, {1: 0}, 4) == [1, 2, 4]
    turns.nothing_waits()
    assert _taken(turns, {1: 3}, 4) == [1, 2, 4]


def test_a_new_wait_begins_when_what_was_left_has_been_taken() -> None:
    turns, others = Turns(), {1: 0}
    assert turns.allowed(1, others, 0.0) == 0
    turns.nothing_waits()
    assert turns.allowed(1, others, 50.0) == 0
    assert turns.allowed(1, others, 50.0 + PATIENCE) == 1


def test_those_who_take_none_do_not_count() -> None:
    assert accepting({0: 5, 1: AWAY, 2: 7}, own=0) == {2: 7}
