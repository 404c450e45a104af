"""The version before stays warm while the new one is watched, and answers again at once if that is bad."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from evaluation.guard import GuardRules, VersionGuard
from hotswap.admission import Permit
from hotswap.desired import CanaryTarget, set_canary
from hotswap.errors import ModelFailed
from hotswap.gate import GUARD, Gate, Result, Verdict
from hotswap.generation import Generation, State
from hotswap.predictions import Options, Picture, Predictions
from hotswap.resident_models import MemoryRules
from manifest.tags import ModelTag
from registry.verdict_files import VerdictFiles
from residency.planner import Footprint, Policy
from tests.hotswap.served import Served, tensors
from tests.hotswap.workers import Workers
from tests.hotswap.world import World, asked

BAD = Verdict(Result.FAIL, "answers otherwise: than m:v1 on 15 of 15 pictures", {"pairs": 15})
GOOD = Verdict(Result.PASS, "100 answers")


@dataclass
class ScriptedWatch:
    """Says what the test says."""

    before: Generation
    after: Generation
    wake: Callable[[], None]
    verdict: Verdict | None = None
    answers: int = 0
    failures: list[str] = field(default_factory=list)
    closed: bool = False

    def answered(self, pictures: Sequence[Picture], options: Options, found: Predictions) -> None:
        self.answers += 1

    def failed(self, error: Exception) -> None:
        self.failures.append(str(error))

    def close(self) -> None:
        self.closed = True


@dataclass
class ScriptedGuard:
    """Watches every switch."""

    watches: list[ScriptedWatch] = field(default_factory=list)

    def keeps(self, before: Generation, after: Generation) -> bool:
        return before.tag.version != after.tag.version

    def watch(self, before: Generation, after: Generation, wake: Callable[[], None]) -> ScriptedWatch:
        self.watches.append(ScriptedWatch(before, after, wake))
        return self.watches[-1]

    def of(self, world: World) -> ScriptedWatch:
        """The watch over what answers in one worker."""
        current = world.reconciler.observed.slots["m"].current
        return next(each for each in self.watches if each.after is current)


@pytest.fixture
def guard() -> ScriptedGuard:
    return ScriptedGuard()


def switched(world: World) -> World:
    """v1 has answered, now v2 does."""
    world.settle()
    world.source.add("m:v2", digest="sha256:2")
    world.settle()
    assert world.serving() == "v2"
    return world


def kept(world: World) -> str | None:
    one = world.reconciler.observed.slots["m"].kept
    return None if one is None else one.tag.version


def test_what_answered_before_stays_until_the_window_ends(guard: ScriptedGuard) -> None:
    world = switched(World("m:v1", guard=guard))
    assert kept(world) == "v1"
    assert world.loader.of("v1").closed == 0
    (watch,) = guard.watches
    assert watch.after.watch is watch
    watch.verdict = GOOD
    world.settle()
    assert (world.serving(), kept(world), world.loader.of("v1").closed) == ("v2", None, 1)
    assert (watch.closed, watch.after.watch) == (True, None)


def test_a_bad_version_is_taken_back_without_a_load_and_not_loaded_again(guard: ScriptedGuard) -> None:
    world = switched(World("m:v1", guard=guard))
    number, loads = world.number(), list(world.loader.loads)
    guard.watches[0].verdict = BAD
    world.step()
    assert (world.serving(), world.number()) == ("v1", number + 1)
    world.settle()
    assert world.loader.loads == loads  # v1 was there, and v2 is refused before it is loaded
    assert (world.serving(), kept(world), world.loader.of("v2").closed) == ("v1", None, 1)
    failure = world.reconciler.view.failure(ModelTag("m", "v2"))
    assert failure is not None
    assert failure.reason.startswith("check guard: answers otherwise")
    swap = world.observer.swaps[-1]
    assert (swap.before, swap.after, swap.taken_back, swap.actor) == ("v2", "v1", True, "guard")
    assert swap.reason == f"m:v2 was taken back: {BAD.reason}"


def test_the_next_version_is_tried_beside_the_one_that_answers_again(guard: ScriptedGuard) -> None:
    world = switched(World("m:v1", guard=guard))
    guard.watches[0].verdict = BAD
    world.settle()
    world.source.add("m:v3", digest="sha256:3")
    world.settle()
    assert (world.serving(), kept(world)) == ("v3", "v1")
    assert [str(each.after.tag) for each in guard.watches] == ["m:v2", "m:v3"]


def test_a_switch_within_the_window_keeps_the_last_version_alone(guard: ScriptedGuard) -> None:
    world = switched(World("m:v1", guard=guard))
    world.source.add("m:v3", digest="sha256:3")
    world.settle()
    assert (world.serving(), kept(world), world.loader.of("v1").closed) == ("v3", "v2", 1)
    assert guard.watches[0].closed


def test_all_workers_take_it_back_at_one_point_in_time(tmp_path: Path, guard: ScriptedGuard) -> None:
    def gate() -> Gate:
        return Gate(store=VerdictFiles(tmp_path / "home"))

    workers = Workers(tmp_path, 2, "m:v1", gate=gate, guard=guard)
    try:
        workers.settle()
        workers.source.add("m:v2", digest="sha256:2")
        workers.settle()
        assert workers.all() == ["v2", "v2"]
        guard.of(workers.worlds[0]).verdict = BAD
        workers.worlds[0].step()
        assert workers.all() == ["v1", "v1"]  # the other has not even looked
        workers.settle()
        assert workers.all() == ["v1", "v1"]
        assert len(workers.numbers()) == 1
        assert [world.loader.loads for world in workers.worlds] == [["m:v1", "m:v2"]] * 2
        swaps = [world.observer.swaps[-1] for world in workers.worlds]
        assert {(swap.number, swap.reason) for swap in swaps} == {
            (3, f"m:v2 was taken back: {BAD.reason}"),
        }
        late = workers.join(2)
        late.settle()
        assert late.serving() == "v1"  # who starts later refuses it as well
    finally:
        workers.close()


def test_a_worker_without_the_version_before_loads_it(tmp_path: Path, guard: ScriptedGuard) -> None:
    workers = Workers(tmp_path, 2, "m:v1", guard=guard)
    try:
        workers.settle()
        workers.source.add("m:v2", digest="sha256:2")
        workers.settle()
        workers.worlds[1].reconciler.observed.slots["m"].release_kept()
        guard.of(workers.worlds[0]).verdict = BAD
        workers.worlds[0].step()
        assert workers.all() == ["v1", None]  # its requests wait
        workers.settle()
        assert workers.all() == ["v1", "v1"]
    finally:
        workers.close()


def test_somebody_may_end_the_window_either_way(tmp_path: Path, guard: ScriptedGuard) -> None:
    files = VerdictFiles(tmp_path)
    world = switched(World("m:v1", guard=guard, gate=Gate(store=files)))
    gate = Gate(store=files)
    artifact = guard.watches[0].after.artifact
    gate.take_back(artifact, Verdict(Result.FAIL, "misses cars"))
    world.reconciler.schedule.look()
    world.settle()
    assert world.serving() == "v1"

    record = files.read(artifact.digest)
    assert record is not None
    files.write(record.__class__(artifact.tag, artifact.digest, record.policy, allowed=frozenset({GUARD})))
    world.reconciler.schedule.retry(None)
    world.settle()
    assert world.serving() == "v2"
    assert kept(world) is None  # it is accepted: nobody watches
    assert not world.loader.of("v2").closed


def test_who_goes_back_is_not_asked_again(tmp_path: Path) -> None:
    files, guard = VerdictFiles(tmp_path), VersionGuard(GuardRules())
    world = switched(World("m:v1", guard=guard, gate=Gate(store=files)))
    slot = world.reconciler.observed.slots["m"]
    assert slot.current is not None
    assert slot.current.watch is not None
    for digest in ("sha256:1", "sha256:2"):
        files.note_served(digest)
    world.swap("m", "v1")  # it differs from v2 on every picture: that is why
    assert (world.serving(), kept(world), slot.current.watch) == ("v1", None, None)
    files.refuse(ModelTag("m", "v2"), "sha256:2", "test", "misses cars")
    files.judge_again(ModelTag("m", "v2"), "sha256:2")
    world.swap("m", "v2")  # it is let in again, and watched
    assert (world.serving(), kept(world)) == ("v2", "v1")


def try_out(world: World, version: str) -> None:
    """It answers a tenth of the requests."""
    world.source.add(f"m:{version}", digest=f"sha256:{version}", latest=False)
    world.store.edit(set_canary("m", CanaryTarget(version=version, share=0.1), "test", None))
    world.settle()


def test_a_candidate_does_not_end_the_window_of_the_target(guard: ScriptedGuard) -> None:
    world = switched(World("m:v1", guard=guard))
    world.aim("m", "v2")
    try_out(world, "v3")
    slot = world.reconciler.observed.slots["m"]
    assert slot.candidate is not None
    assert not guard.watches[0].closed
    guard.watches[0].verdict = GOOD
    world.settle()
    assert kept(world) is None  # and nothing stays in memory as long as the candidate does
    world.settle()
    assert [str(each.after.tag) for each in guard.watches] == ["m:v2", "m:v3"]


def test_a_target_is_taken_back_though_a_candidate_is_beside_it(guard: ScriptedGuard) -> None:
    world = switched(World("m:v1", guard=guard))
    world.aim("m", "v2")
    try_out(world, "v3")
    guard.watches[0].verdict = BAD
    world.settle()
    assert (world.serving(), kept(world)) == ("v1", None)


def test_a_candidate_that_becomes_the_target_has_its_own_window(guard: ScriptedGuard) -> None:
    world = World("m:v1", guard=guard)
    world.swap("m", "v1")
    try_out(world, "v2")
    guard.watches[0].verdict = GOOD  # of the few requests that it has answered
    world.settle()
    world.swap("m", "v2")
    assert (world.serving(), kept(world)) == ("v2", "v1")
    assert [each.closed for each in guard.watches] == [True, False]
    assert guard.watches[1].after.watch is guard.watches[1]


@contextmanager
def served(guard: ScriptedGuard) -> Iterator[Served]:
    world = Served("m:v1", guard=guard)
    switched(world)
    yield world
    asyncio.run(world.end())


def test_a_failure_of_the_new_version_is_nobodys(guard: ScriptedGuard) -> None:
    with served(guard) as world:
        world.loader.of("v2").fails["predict"] = ModelFailed("output scores holds NaN")
        answer = asyncio.run(_ask(world))
        assert answer == "v1"
        assert guard.watches[0].failures == ["output scores holds NaN"]
        guard.watches[0].verdict = GOOD  # the window has ended: from here on a failure is one
        world.settle()
        with pytest.raises(ModelFailed, match="NaN"):
            asyncio.run(_ask(world))


def test_a_failure_is_nobodys_in_a_full_service_too(
    guard: ScriptedGuard, monkeypatch: pytest.MonkeyPatch
) -> None:
    with served(guard) as world:
        world.loader.of("v2").fails["predict"] = ModelFailed("output scores holds NaN")
        admission, lease_instead = world.plane.admission, world.plane.router.lease_instead
        others: list[Permit] = []

        def others_come(name: str, failed: Generation) -> object:
            while not admission.full:
                others.append(admission.enter())
            return lease_instead(name, failed)

        monkeypatch.setattr(world.plane.router, "lease_instead", others_come)
        assert asyncio.run(_ask(world)) == "v1"
        assert guard.watches[0].failures == ["output scores holds NaN"]
        assert admission.inside == len(others) == admission.capacity
        for permit in others:
            permit.release()


def test_for_a_candidate_that_fails_the_target_answers(guard: ScriptedGuard) -> None:
    with served(guard) as world:
        world.aim("m", "v2")
        try_out(world, "v3")
        world.loader.of("v3").fails["predict"] = ModelFailed("output scores holds NaN")
        answered = {asyncio.run(_keyed(world, f"camera-{number}")) for number in range(100)}
        assert answered == {"v2"}  # and not v1, which is still kept


def test_what_no_version_can_answer_is_held_against_none(guard: ScriptedGuard) -> None:
    with served(guard) as world:
        for version in ("v1", "v2"):
            world.loader.of(version).fails["predict"] = ModelFailed("output scores holds NaN")
        with pytest.raises(ModelFailed, match="NaN"):
            asyncio.run(_ask(world))
        assert guard.watches[0].failures == []


def test_a_request_that_names_the_version_meets_its_failure(guard: ScriptedGuard) -> None:
    with served(guard) as world:
        world.loader.of("v2").fails["predict"] = ModelFailed("output scores holds NaN")
        with pytest.raises(ModelFailed, match="NaN"):
            asyncio.run(_ask(world, "v2"))


def test_answers_of_the_new_version_are_looked_at(guard: ScriptedGuard) -> None:
    with served(guard) as world:
        assert asyncio.run(_ask(world)) == "v2"
        assert guard.watches[0].answers == 1


def test_answers_in_tensors_count_beside_the_failures(guard: ScriptedGuard) -> None:
    with served(guard) as world:
        assert asyncio.run(world.plane.infer(tensors())).version == "v2"
        assert guard.watches[0].answers == 1


async def _keyed(world: Served, key: str) -> str:
    return (await world.plane.predict(replace(asked("m"), key=key))).version


async def _ask(world: Served, version: str | None = None) -> str:
    return (await world.ask(version)).version


def test_what_is_kept_is_given_up_before_anything_is_refused(guard: ScriptedGuard) -> None:
    rules = MemoryRules(250, lambda _tag, _info: Footprint(0, 100, 100), policy=Policy(minimum_stay=0))
    world = switched(World("m:v1", guard=guard, memory=rules))
    assert kept(world) == "v1"
    world.source.add("m:v3", digest="sha256:3")
    world.settle()
    assert world.serving() == "v3"
    assert kept(world) == "v2"
    assert world.loader.of("v1").closed


def test_a_kept_version_is_lent_beside_the_one_that_serves(guard: ScriptedGuard) -> None:
    world = switched(World("m:v1", guard=guard))
    one = world.reconciler.observed.slots["m"].kept
    assert one is not None
    assert one.state is State.KEPT
    assert not one.borrow()
    lease = one.borrow_beside()
    assert lease is not None
    guard.watches[0].verdict = GOOD
    world.settle()
    assert world.loader.of("v1").closed == 0  # somebody still compares with it
    lease.release()
    world.background.run_all()
    assert world.loader.of("v1").closed == 1
    assert one.borrow_beside() is None
