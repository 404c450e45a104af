"""What is held against a version that answers, and in which words."""

from __future__ import annotations

import itertools
import random

from evaluation.guard_evidence import GuardEvidence
from hotswap.gate import Result
from manifest.version_manifest import GuardConfig
from tests.e2e.sizes import FULL_SIZE

#: Numbers of pictures that were never seen.
new = itertools.count()


def evidence(**rules: float) -> GuardEvidence:
    return GuardEvidence("m:v1", GuardConfig.model_validate(rules), 1 / 2000)


def reason(of: GuardEvidence) -> str | None:
    return None if of.verdict is None else of.verdict.reason


def test_failures_are_named_with_the_last_one() -> None:
    one = evidence()
    for _ in range(40):
        one.answer()
    while one.verdict is None:
        one.answer("output scores holds NaN or infinity")
    assert one.verdict.result is Result.FAIL
    assert one.answers <= 50
    assert reason(one) == (
        f"fails: {one.answers - 40} of {one.answers} requests, at last: output scores holds NaN or infinity"
    )


def test_answers_without_findings_where_there_were_always_some() -> None:
    one = evidence()
    while one.verdict is None:
        one.pair(0.0, is_empty=True, was_empty=False, picture=next(new))
    assert reason(one) == f"finds nothing: in {one.pairs} of {one.pairs} pictures where m:v1 finds something"


def test_pictures_in_which_neither_finds_anything_say_nothing() -> None:
    one = evidence()
    for _ in range(1000):
        one.pair(1.0, is_empty=True, was_empty=True, picture=next(new))
    assert one.verdict is None


def test_answers_that_differ() -> None:
    one = evidence()
    while one.verdict is None:
        one.pair(0.2, is_empty=False, was_empty=False, picture=next(new))
    assert reason(one) == (
        f"answers otherwise: than m:v1 on {one.pairs} of {one.pairs} pictures, 60% are allowed"
    )


def test_after_a_slow_picture_or_many_that_differ_the_next_ones_are_worth_their_time() -> None:
    one = evidence()
    one.times(20.0, 70.0)
    assert one.is_suspicious
    one.times(20.0, 20.0)
    assert not one.is_suspicious
    one.pair(0.2, is_empty=False, was_empty=False, picture=next(new))  # one scene says little
    assert not one.is_suspicious
    while one.verdict is None:
        one.pair(0.2, is_empty=False, was_empty=False, picture=next(new))
    one.pair(0.9, is_empty=False, was_empty=False, picture=next(new))
    assert one.is_suspicious


def test_the_same_picture_again_and_again_says_as_much_as_six_times() -> None:
    one = evidence()
    for _ in range(1000):
        one.pair(0.2, is_empty=True, was_empty=False, picture=1)
    assert (one.verdict, one.pairs) == (None, 6)
    assert (one.numbers()["differing"], one.numbers()["empty"]) == (6, 2)
    for _ in range(1000):
        one.pair(0.9, is_empty=False, was_empty=False, picture=1)
    assert one.pairs == 12  # with another outcome it is another observation
    for _ in range(200):
        one.times(20.0, 70.0)  # its time is as good as another's
    assert reason(one) == "too slow: 70.0 ms a picture, m:v1 20.0 ms; at most 3 times as long is allowed"


def test_a_few_pictures_in_turn_are_enough() -> None:
    one = evidence()
    for turn in range(36):
        one.pair(0.2, is_empty=False, was_empty=False, picture=turn % 6)
    assert reason(one) == "answers otherwise: than m:v1 on 30 of 30 pictures, 60% are allowed"


def test_a_bounded_number_of_pictures_is_remembered() -> None:
    one = evidence()
    for picture in range(5000):
        one.pair(0.9, is_empty=False, was_empty=False, picture=picture)
        one.is_worth_comparing(picture)
    assert len(one._seen) == 1000
    assert (4999,) in one._seen


def test_a_picture_that_comes_all_the_time_takes_little_of_the_time_to_compare() -> None:
    one = evidence()
    compared = sum(one.is_worth_comparing(1) for _ in range(806))
    assert compared == 6 + 100
    assert one.is_worth_comparing(2)
    one.times(20.0, 70.0)
    assert [one.is_worth_comparing(1) for _ in range(3)] == [True] * 3  # while it is slow


def test_how_much_may_differ_is_the_versions_own_choice() -> None:
    one = evidence(differing=0.9)
    chance = random.Random(0)
    for _ in range(500):
        one.pair(0.2 if chance.random() < 0.6 else 0.9, is_empty=False, was_empty=False, picture=next(new))
    assert one.verdict is None


def test_slowness_is_relative_and_few_milliseconds_are_none() -> None:
    quick, slow = evidence(), evidence()
    for _ in range(100):
        quick.times(0.5, 5.0)  # ten times as long, and still nothing
        slow.times(20.0, 70.0)
    assert quick.verdict is None
    assert reason(slow) == "too slow: 70.0 ms a picture, m:v1 20.0 ms; at most 3 times as long is allowed"


def test_the_numbers_are_with_the_verdict() -> None:
    one = evidence()
    one.answer()
    while one.verdict is None:
        one.pair(0.0, is_empty=False, was_empty=False, picture=next(new))
    numbers = one.verdict.numbers
    assert (numbers["answers"], numbers["pairs"], numbers["differing"]) == (1, one.pairs, one.pairs)
    assert one.is_suspicious


def test_good_switches_under_changing_light_raise_at_most_the_stated_alarms() -> None:
    """Each version differs on some pictures, at night on more; traffic comes in bursts; times are noisy."""
    alarms = 0
    for seed in range(1000 if FULL_SIZE else 150):
        chance, one = random.Random(seed), evidence()
        dark = 0.0
        for _ in range(300):
            dark = min(1.0, max(0.0, dark + chance.uniform(-0.2, 0.2)))
            one.answer("rare" if chance.random() < 0.005 else None)
            differs = chance.random() < 0.1 + 0.48 * dark
            empty = dark > 0.9 and chance.random() < 0.3
            one.pair(0.2 if differs else 0.9, is_empty=empty and differs, was_empty=empty, picture=next(new))
            load = chance.uniform(1, 4)
            one.times(8.0 * load, 8.0 * load * chance.uniform(0.6, 2.5))
        alarms += one.verdict is not None
    assert alarms <= 2  # one in two thousand is stated
