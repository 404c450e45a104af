"""How long is waited between two tries, and when it is given up."""

from __future__ import annotations

from streaming.retries import RetryPolicy


def _most() -> float:
    return 1.0


def _least() -> float:
    return 0.0


def test_waits_double_up_to_the_longest() -> None:
    policy = RetryPolicy(seconds=600, first=0.2, longest=10)
    waits = [policy.wait(tries, 0, None, _most) for tries in range(1, 10)]
    assert waits == [0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10, 10, 10]


def test_by_chance_a_wait_is_half_as_long() -> None:
    assert RetryPolicy(first=0.2).wait(1, 0, None, _least) == 0.1


def test_the_service_may_ask_for_longer_waits_up_to_the_longest() -> None:
    policy = RetryPolicy(longest=10)
    assert policy.wait(1, 0, 5.0, _most) == 5.0
    assert policy.wait(1, 0, 3_600.0, _most) == 10
    assert policy.wait(9, 0, 0.0, _most) == 10


def test_a_wait_that_ends_behind_the_time_is_not_begun() -> None:
    policy = RetryPolicy(seconds=10, first=1, longest=4)
    assert policy.wait(3, 6.0, None, _most) == 4
    assert policy.wait(3, 6.1, None, _most) is None


def test_very_many_tries_are_no_overflow() -> None:
    assert RetryPolicy().wait(100_000, 0, None, _most) == 10
