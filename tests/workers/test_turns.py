"""Whose turn it is to take a connection, by counts and a clock in the hand."""

from __future__ import annotations

import pytest

from workers.listener import AWAY, PATIENCE, Surplus, Turns, accepting, surplus_of


def test_who_is_alone_takes_what_waits() -> None:
    assert Turns().allowed(1000, {}) > 1


@pytest.mark.parametrize(
    ("mine", "others", "allowed"),
    [
        (0, {1: 0}, 1),
        (0, {1: 1}, 2),
        (3, {1: 5}, 3),
        (3, {1: 50}, 4),
        (7, {1: 3}, 0),
        (1, {1: 0}, 0),
        (5, {1: 9, 2: 4, 3: 9}, 0),
        (5, {1: 9, 2: 5, 3: 9}, 1),
        (32, {1: 32}, 4),
        (35, {1: 32}, 2),
        (37, {1: 32}, 0),
    ],
)
def test_the_fewest_come_first_and_nobody_takes_much_more_than_its_share(
    mine: int, others: dict[int, int], allowed: int
) -> None:
    assert Turns().allowed(mine, others) == allowed


def _wait(turns: Turns, mine: int, others: dict[int, int]) -> tuple[int, int]:
    """How often it looked in vain, and how many it took then."""
    looks = 0
    while (taken := turns.allowed(mine, others)) == 0:
        looks += 1
    return looks, taken


def test_what_another_does_not_take_is_taken_after_a_moment() -> None:
    turns = Turns()
    assert [_wait(turns, 1, {1: 0}) for _ in range(3)] == [(PATIENCE, 1)] * 3


@pytest.mark.parametrize(
    ("mine", "fewest", "times"), [(7, 0, 1), (8, 0, 2), (50, 0, 3), (40, 32, 1), (64, 16, 3), (999, 0, 3)]
)
def test_the_bigger_its_own_part_the_longer_it_waits_within_a_bound(
    mine: int, fewest: int, times: int
) -> None:
    assert _wait(Turns(), mine, {1: fewest}) == (times * PATIENCE, 1)


def test_one_that_does_not_move_holds_up_less_and_less() -> None:
    turns = Turns()
    waits = [_wait(turns, 1, {1: 0}) for _ in range(500)]
    assert waits == sorted(waits, key=lambda wait: (-wait[0], wait[1]))
    assert sum(taken for _, taken in waits[:7]) == 7
    assert waits[-1] == (0, 63)


def test_one_that_moves_again_is_trusted_again() -> None:
    turns = Turns()
    assert [_wait(turns, 1, {1: 0}) for _ in range(100)][-1] != (PATIENCE, 1)
    assert _wait(turns, 5, {1: 3}) == (PATIENCE, 1)


def test_a_new_wait_begins_when_what_was_left_has_been_taken() -> None:
    turns = Turns()
    for _ in range(3):
        assert [turns.allowed(1, {1: 0}) for _ in range(PATIENCE)] == [0] * PATIENCE
        turns.nothing_waits()
    assert _wait(turns, 1, {1: 0}) == (PATIENCE, 1)


def test_those_who_take_none_do_not_count() -> None:
    assert accepting({0: 5, 1: AWAY, 2: 7}, own=0) == {2: 7}


@pytest.mark.parametrize(
    ("mine", "others", "surplus"),
    [
        (64, {}, 0),
        (64, {1: 0}, 28),
        (0, {1: 64}, 0),
        (2, {1: 0}, 0),
        (3, {1: 0}, 1),
        (35, {1: 32}, 0),
        (40, {1: 32}, 0),
        (42, {1: 32}, 1),
        (16, {1: 16, 2: 0, 3: 0}, 7),
    ],
)
def test_more_than_an_even_part_and_an_eighth_of_it_is_too_much(
    mine: int, others: dict[int, int], surplus: int
) -> None:
    assert surplus_of(mine, others) == surplus


def test_half_of_what_is_too_much_may_go_at_each_look_and_nothing_at_the_first() -> None:
    surplus, gone = Surplus(), list[int]()

    def count() -> tuple[int, dict[int, int]]:
        return 64 - sum(gone), {1: sum(gone)}

    for look in range(8):
        gone.append(sum(surplus.take(float(look), count) for _ in range(100)))
    assert gone == [0, 14, 7, 4, 2, 1, 0, 0]


def test_a_moment_of_unevenness_costs_nothing() -> None:
    surplus = Surplus()
    for look in range(10):
        assert not surplus.take(float(look), lambda: (64, {1: 64 * (look % 2)}))  # noqa: B023
