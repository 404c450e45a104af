"""How much of its time the guard takes for pairs, and when."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from evaluation.guard import GuardRules, PairThread, TimeBudget, VersionWatch, _Pair
from hotswap.errors import ModelFailed
from hotswap.generation import Generation
from hotswap.predictions import Options, Picture, Prediction, Predictions, Timings
from manifest.tags import ModelTag
from tests.hotswap.fake_models import FakeRunner
from tests.hotswap.fakes import artifact

SOON = 30.0
NOTHING = Prediction((), "v1", 1, 1)
ONE_ANSWER = Predictions((NOTHING,), Timings(inference=10.0))


@dataclass
class FakeWatch:
    """Counts what is compared."""

    seconds: float = 0.0
    compared: int = 0
    turn: threading.Event = field(default_factory=threading.Event)

    def compare(self, _pair: object) -> None:
        time.sleep(self.seconds)
        self.compared += 1
        self.turn.set()


@dataclass
class FakePair:
    """Of a picture nothing is needed here."""

    watch: FakeWatch


@contextmanager
def pair_thread(share: float, *, busy: bool) -> Iterator[PairThread]:
    """Ends its thread."""
    thread = PairThread(share, lambda: busy)
    try:
        yield thread
    finally:
        thread.close()


def test_a_share_of_the_time_is_left_and_a_little_is_saved_up() -> None:
    now = [0.0]
    budget = TimeBudget(0.1, clock=lambda: now[0])
    assert budget.has_time
    budget.spend(2.0)  # 1 second was saved up
    assert not budget.has_time
    now[0] = 9.9
    assert not budget.has_time
    now[0] = 10.1
    assert budget.has_time
    now[0] = 10_000.0
    assert budget.has_time
    budget.spend(1.1)
    assert not budget.has_time
    budget.spend(3600.0)
    now[0] += 10.1
    assert budget.has_time  # a picture every ten seconds, however long it takes


@pytest.mark.parametrize("busy", [False, True])
def test_pairs_end_with_the_time_but_where_there_is_suspicion(busy: bool) -> None:
    watch = FakeWatch()
    pair: Any = FakePair(watch)
    with pair_thread(1e-9, busy=busy) as thread:  # any comparison takes all of its time
        thread.offer(pair, suspicious=False)
        assert watch.turn.wait(SOON)
    assert watch.compared == 1
    with pair_thread(0.0, busy=busy) as thread:
        thread.offer(pair, suspicious=False)
    assert watch.compared == 1
    watch.turn.clear()
    with pair_thread(0.0, busy=busy) as thread:
        thread.offer(pair, suspicious=True)
        assert watch.turn.wait(SOON)
    assert watch.compared == 2


def test_while_requests_wait_a_tenth_of_the_time_is_left() -> None:
    with pair_thread(0.1, busy=True) as thread:
        thread._busy_budget.spend(0.2)
        pair: Any = FakePair(FakeWatch())
        thread.offer(pair, suspicious=False)
        assert pair.watch.compared == 0
    with pair_thread(0.1, busy=False) as thread:
        thread._busy_budget.spend(0.2)
        thread.offer(pair, suspicious=False)
        assert pair.watch.turn.wait(SOON)


def test_what_was_compared_before_is_not_taken_from_the_time_while_requests_wait() -> None:
    busy = [False]
    thread = PairThread(0.1, lambda: busy[0])
    watch = FakeWatch(seconds=0.2)  # twice what is saved up for busy times
    pair: Any = FakePair(watch)
    thread.offer(pair, suspicious=False)
    assert watch.turn.wait(SOON)
    watch.turn.clear()
    busy[0] = True
    thread.offer(pair, suspicious=False)
    assert watch.turn.wait(SOON)
    thread.close()
    assert not thread._busy_budget.has_time


def test_a_window_ends_when_enough_was_compared() -> None:
    now = [0.0]
    before, after = (
        Generation(artifact(tag), FakeRunner(tag, 1), lambda _: None)
        for tag in (ModelTag("m", "v1"), ModelTag("m", "v2"))
    )
    pairs: Any = SameTime()
    pairs.has_time = False
    watch = VersionWatch(before, after, GuardRules(), pairs, lambda: None, clock=lambda: now[0])

    def answered(count: int) -> None:
        for number in range(count):
            watch.answered([Picture(encoded=bytes(number))], Options(), ONE_ANSWER)

    answered(200)
    now[0] = 61.0
    assert watch.verdict is None
    pairs.has_time = True
    answered(30)
    assert watch.verdict is not None
    assert watch.verdict.reason == "230 answers, 30 compared with m:v1"


def test_a_window_does_not_wait_for_pictures_that_never_come() -> None:
    now = [0.0]
    before, after = (
        Generation(artifact(tag), FakeRunner(tag, 1), lambda _: None)
        for tag in (ModelTag("m", "v1"), ModelTag("m", "v2"))
    )
    pairs: Any = SameTime()
    watch = VersionWatch(before, after, GuardRules(), pairs, lambda: None, clock=lambda: now[0])
    for _ in range(200):  # tensors
        watch.answered([], Options(), Predictions((), Timings(inference=10.0)))
    now[0] = 61.0
    assert watch.verdict is not None
    pairs.has_time = False
    watch = VersionWatch(before, after, GuardRules(), pairs, lambda: None, clock=lambda: now[0])
    for _ in range(200):
        watch.answered([Picture(encoded=b"")], Options(), ONE_ANSWER)
    now[0] = 660.9
    assert watch.verdict is None
    now[0] = 661.1 + 1
    assert watch.verdict is not None


@dataclass
class SameTime:
    """Compares at once, with a version that finds nothing, and takes the same time for each picture."""

    has_time: bool = True

    def offer(self, pair: Any, suspicious: bool) -> None:
        if self.has_time:
            pair.watch._take_in(pair, Predictions((NOTHING,), Timings(inference=10.0)))


def test_a_run_that_requests_share_is_not_held_against_one_picture() -> None:
    before, after = (
        Generation(artifact(tag), FakeRunner(tag, 1), lambda _: None)
        for tag in (ModelTag("m", "v1"), ModelTag("m", "v2"))
    )
    pairs: Any = SameTime()
    watch = VersionWatch(before, after, GuardRules(), pairs, lambda: None)
    for _ in range(200):
        together = Predictions((NOTHING,), Timings(inference=80.0), sharing=8)
        watch.answered([Picture(encoded=b"")], Options(), together)
    assert watch.verdict is None
    for _ in range(200):
        watch.answered([Picture(encoded=b"")], Options(), Predictions(together.items, together.timings))
    assert watch.verdict is not None
    assert watch.verdict.reason.startswith("too slow: 80.0 ms")


def test_a_picture_that_the_version_before_cannot_answer_is_no_pair(caplog: pytest.LogCaptureFixture) -> None:
    tag = ModelTag("m", "v1")
    runner = FakeRunner(tag, 1)
    runner.fails["predict"] = ModelFailed("output scores holds NaN")
    before = Generation(artifact(tag), runner, lambda _: None)
    before.open(1)
    pairs: Any = None
    watch = VersionWatch(before, before, GuardRules(), pairs, lambda: None)
    watch.compare(_Pair(watch, Picture(encoded=b""), Options(), NOTHING, None))
    assert (watch._evidence.pairs, before.leases, caplog.messages) == (0, 0, [])


def test_a_picture_that_comes_all_the_time_is_asked_of_the_version_before_a_few_times() -> None:
    tag = ModelTag("m", "v1")
    runner = FakeRunner(tag, 1)
    before = Generation(artifact(tag), runner, lambda _: None)
    before.open(1)
    pairs: Any = None
    watch = VersionWatch(before, before, GuardRules(), pairs, lambda: None)
    for _ in range(30):
        watch.compare(_Pair(watch, Picture(encoded=b"a"), Options(), NOTHING, None))
    assert (runner.served, watch._evidence.pairs) == (6 + 3, 6)
    watch.compare(_Pair(watch, Picture(encoded=b"a"), Options(threshold=0.5), NOTHING, None))
    watch.compare(_Pair(watch, Picture(encoded=b"b"), Options(), NOTHING, None))
    assert watch._evidence.pairs == 8
