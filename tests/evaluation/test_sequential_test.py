"""The alarm: rare while a share is allowed, however it changes; soon after it has risen."""

from __future__ import annotations

import math
import random

import pytest

from evaluation.sequential_test import RiseTest

ALLOWED = 0.35


def steps_until_alarm(test: RiseTest, bad: list[bool]) -> int | None:
    """How many observations an alarm took; None without one."""
    return next((number for number, each in enumerate(bad, 1) if test.observe(each)), None)


@pytest.mark.parametrize("before", [0, 50, 400])
def test_what_turns_bad_is_found_within_twenty_observations(before: int) -> None:
    test = RiseTest(ALLOWED, 1 / 8000)
    assert not any(test.observe(False) for _ in range(before))
    steps = steps_until_alarm(test, [True] * 30)
    assert steps is not None
    assert steps <= 20


def test_false_alarms_keep_to_their_rate_while_the_share_changes_all_the_time() -> None:
    """Day and night: the share wanders between 0 and what is allowed, in long stretches."""
    rate, alarms = 1 / 50, 0
    for seed in range(300):
        chance, test = random.Random(seed), RiseTest(ALLOWED, rate)
        bad: list[bool] = []
        while len(bad) < 600:
            share = ALLOWED * chance.choice((0.0, 0.5, 1.0, 1.0))
            bad += [chance.random() < share for _ in range(chance.randrange(1, 200))]
        alarms += steps_until_alarm(test, bad) is not None
    # 6 are allowed; so many more would be seen in one of 10,000 tries.
    assert alarms <= 6 + 4 * math.sqrt(6)


def test_a_smaller_rise_takes_longer_and_is_found() -> None:
    chance, test = random.Random(1), RiseTest(ALLOWED, 1 / 8000)
    steps = steps_until_alarm(test, [chance.random() < 0.6 for _ in range(1000)])
    assert steps is not None
    assert steps > 20


def test_suspicion_grows_before_the_alarm_and_an_alarm_stays() -> None:
    test = RiseTest(ALLOWED, 1 / 8000)
    assert test.suspicion == 0
    seen = []
    while not test.observe(True):
        seen.append(test.suspicion)
    assert seen == sorted(seen)
    assert 0.2 < seen[len(seen) // 2] < 1
    assert all(test.observe(False) for _ in range(1000))
    assert test.bad == test.observed


def test_a_share_of_none_or_all_cannot_be_allowed() -> None:
    for allowed, rate in ((0.0, 0.1), (1.0, 0.1), (0.5, 0.0), (0.5, 1.0)):
        with pytest.raises(ValueError, match="between 0 and 1"):
            RiseTest(allowed, rate)
