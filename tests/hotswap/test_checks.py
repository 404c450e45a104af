"""Checks before a version may answer: what each verdict leads to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from hotswap.gate import Result, Verdict, Version
from hotswap.generation import State
from manifest.tags import ModelTag
from tests.hotswap.world import World

PASSED = Verdict(Result.PASS, "as good", {"iou": 0.99})
UNSURE = Verdict(Result.INCONCLUSIVE, "2 pictures more are needed", {"missing": 2})
FAILED = Verdict(Result.FAIL, "the labels are permuted")


@dataclass
class Scripted:
    """Gives one verdict; notes what it was asked."""

    verdict: Verdict = PASSED
    name: str = "golden pictures"
    asked: list[tuple[str | None, str]] = field(default_factory=list)
    at_work: Callable[[Version | None], None] = lambda _: None

    def judge(self, current: Version | None, candidate: Version) -> Verdict:
        """The verdict."""
        self.asked.append((str(current.artifact.tag) if current else None, str(candidate.artifact.tag)))
        self.at_work(current)
        return self.verdict


def test_a_version_is_judged_beside_the_one_that_answers():
    check = Scripted()
    world = World("m:v1", checks=[check])
    world.settle()
    world.source.add("m:v2")
    world.settle()

    assert check.asked == [(None, "m:v1"), ("m:v1", "m:v2")]
    assert world.serving() == "v2"
    assert [each.verdicts for each in world.observer.loads] == [{"golden pictures": PASSED}] * 2


def test_a_version_that_fails_a_check_never_answers_and_the_reason_is_kept():
    second = Scripted(name="never asked")
    check = Scripted()
    world = World("m:v1", checks=[check, second])
    world.settle()
    check.verdict = FAILED
    world.source.add("m:v2")
    world.settle()

    assert world.serving() == "v1"
    assert world.loader.of("v2").closed == 1
    failure = world.reconciler.view.failure(ModelTag("m", "v2"))
    assert failure is not None
    assert failure.reason == "check golden pictures: the labels are permuted"
    assert len(second.asked) == 1


@pytest.mark.parametrize("how", ["says so", "raises"])
def test_an_inconclusive_check_stops_nothing_and_is_told(how, caplog):
    def fail(_: Version | None) -> None:
        raise ZeroDivisionError("no pictures")

    caplog.set_level("INFO")
    check = Scripted(UNSURE) if how == "says so" else Scripted(at_work=fail)
    world = World("m:v1", checks=[check, Scripted(name="later")])
    world.settle()
    verdicts = world.observer.loads[0].verdicts

    assert world.serving() == "v1"
    assert verdicts["golden pictures"].result is Result.INCONCLUSIVE
    assert verdicts["later"] == PASSED
    assert "golden pictures" in caplog.text


def test_the_version_that_answers_is_held_while_it_is_compared():
    def retire(current: Version | None) -> None:
        if current is not None:
            generation = world.reconciler.observed.slots["m"].current
            assert generation is not None
            leases.append(generation.leases)

    leases: list[int] = []
    world = World("m:v1", checks=[Scripted(at_work=retire)])
    world.settle()
    world.source.add("m:v2")
    world.settle()

    assert leases == [1]
    assert world.loader.of("v1").closed == 1
    assert world.reconciler.observed.slots["m"].current.state is State.SERVING
