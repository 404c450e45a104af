"""A candidate answers a share of the requests beside the target: begun, resized, promoted, ended."""

from __future__ import annotations

from pathlib import Path

import pytest

from hotswap.control import CanaryChange, Control
from hotswap.desired import CanaryTarget, set_canary, set_target
from hotswap.errors import Conflict, ModelFailed, VersionFailed, VersionNotFound
from hotswap.gate import Gate, Result, Verdict
from hotswap.resident_models import MemoryRules
from hotswap.version_status import CanaryStatus
from manifest.tags import ModelTag
from registry.verdict_files import VerdictFiles
from residency.planner import Footprint, Policy
from tests.hotswap.test_guard import BAD, ScriptedGuard
from tests.hotswap.workers import Workers
from tests.hotswap.world import World, live

KEYS = [f"camera-{number}" for number in range(1000)]


def try_out(world: World | Workers, version: str | None, share: float = 0.1) -> None:
    """Edit the desired state, as a management call does."""
    canary = None if version is None else CanaryTarget(version=version, share=share)
    world.store.edit(set_canary("m", canary, "test", None))


def with_canary(world: World, share: float = 0.1) -> World:
    """v1 is the target, v2 answers a share."""
    world.source.add("m:v2", digest="sha256:2", latest=False)
    world.settle()
    try_out(world, "v2", share)
    world.settle()
    return world


def answers(world: World) -> dict[str, str]:
    """The version that each key gets."""
    slot = world.reconciler.observed.slots["m"]
    found = {}
    for key in KEYS:
        with slot.lease(key=key) as generation:
            found[key] = generation.tag.version
    return found


def share_of(world: World, version: str = "v2") -> float:
    """The share of the keys that a version gets."""
    return list(answers(world).values()).count(version) / len(KEYS)


def test_a_candidate_answers_its_share_and_requests_that_name_it() -> None:
    world = with_canary(World("m:v1"))
    assert world.serving() == "v1"
    assert world.reconciler.view.canary("m") == CanaryStatus("v2", 0.1)
    assert 0.07 <= share_of(world) <= 0.13
    assert answers(world) == answers(world)  # one key, one version
    slot = world.reconciler.observed.slots["m"]
    with slot.lease("v2") as generation:
        assert generation.tag.version == "v2"
    with slot.lease() as generation:
        assert generation.tag.version == "v1"
    assert world.observer.swaps[-1].after == "v1"  # nothing was switched


def test_another_share_is_a_decision_without_a_load() -> None:
    world = with_canary(World("m:v1"))
    loads, few = list(world.loader.loads), answers(world)
    try_out(world, "v2", 0.5)
    world.settle()
    assert world.loader.loads == loads
    assert 0.44 <= share_of(world) <= 0.56
    assert all(answers(world)[key] == "v2" for key in KEYS if few[key] == "v2")


def test_it_ends_and_is_closed_when_nobody_uses_it_any_more() -> None:
    world = with_canary(World("m:v1"))
    lease = world.reconciler.observed.slots["m"].lease("v2")
    try_out(world, None)
    world.settle()
    assert share_of(world) == 0
    assert world.loader.of("v2").closed == 0
    lease.release()
    world.background.run_all()
    assert (world.loader.of("v2").closed, world.loader.of("v1").closed) == (1, 0)
    assert world.reconciler.view.canary("m") is None


def test_its_promotion_needs_no_load() -> None:
    world = with_canary(World("m:v1"))
    loads = list(world.loader.loads)
    world.swap("m", "v2")
    assert (world.serving(), share_of(world)) == ("v2", 1)
    assert world.loader.loads == loads
    assert world.loader.of("v1").closed == 1
    assert (world.observer.swaps[-1].before, world.observer.swaps[-1].after) == ("v1", "v2")
    assert world.reconciler.view.canary("m") is None


def test_a_change_of_the_target_ends_it() -> None:
    world = with_canary(World("m:v1"))
    world.source.add("m:v3", digest="sha256:3", latest=False)
    world.swap("m", "v3")
    assert (world.serving(), share_of(world, "v3")) == ("v3", 1)
    assert {world.loader.of("v1").closed, world.loader.of("v2").closed} == {1}


def test_a_candidate_that_does_not_load_leaves_the_target_alone() -> None:
    world = World("m:v1")
    world.loader.fails["v2"] = {"check": ModelFailed("NaN")}
    with_canary(world)
    assert share_of(world) == 0
    assert world.reconciler.view.failure(ModelTag("m", "v2")) is not None
    assert world.reconciler.view.canary("m") is None


def test_the_guard_takes_a_bad_candidate_back(tmp_path: Path) -> None:
    guard = ScriptedGuard()
    world = with_canary(World("m:v1", guard=guard, gate=Gate(store=VerdictFiles(tmp_path))))
    (watch,) = guard.watches
    assert (watch.before.tag.version, watch.after.tag.version) == ("v1", "v2")
    watch.verdict = Verdict(Result.PASS, "100 answers")
    world.settle()
    assert share_of(world) > 0  # a trial lasts until somebody ends it
    watch.verdict = BAD
    world.settle()
    assert share_of(world) == 0
    failure = world.reconciler.view.failure(ModelTag("m", "v2"))
    assert failure is not None
    assert failure.reason.startswith("check guard: answers otherwise")
    assert world.loader.of("v2").closed == 1


def test_a_candidate_that_has_to_leave_memory_ends() -> None:
    rules = MemoryRules(250, lambda _tag, _info: Footprint(0, 100, 100), policy=Policy(minimum_stay=0))
    world = with_canary(World("m:v1", memory=rules))
    assert share_of(world) > 0
    residents = world.reconciler.observed.table.residents()
    assert {one.version for one in residents.of("m")} == {"v1", "v2"}


def test_all_workers_share_alike(tmp_path: Path) -> None:
    workers = Workers(tmp_path, 2, "m:v1")
    try:
        workers.source.add("m:v2", digest="sha256:2", latest=False)
        workers.settle()
        try_out(workers, "v2", 0.3)
        workers.load(0)
        assert [share_of(world) for world in workers.worlds] == [0, 0]  # one waits for the other
        workers.settle()
        assert answers(workers.worlds[0]) == answers(workers.worlds[1])
        assert 0.25 <= share_of(workers.worlds[0]) <= 0.35
        assert len(workers.numbers()) == 1

        try_out(workers, None)
        workers.worlds[0].step()
        assert [share_of(world) for world in workers.worlds] == [0, 0]  # at one point in time
    finally:
        workers.close()


def test_a_worker_that_starts_meanwhile_answers_when_it_has_both(tmp_path: Path) -> None:
    workers = Workers(tmp_path, 2, "m:v1")
    try:
        workers.source.add("m:v2", digest="sha256:2", latest=False)
        workers.settle()
        try_out(workers, "v2", 0.3)
        workers.settle()
        expected = answers(workers.worlds[0])
        late = workers.join(2)
        workers.worlds.append(late)
        workers.load(2)
        assert workers.answers(2) is None  # it has the target, and waits for the candidate
        workers.settle()
        assert answers(late) == expected
        assert {world.number() for world in workers.worlds} == {workers.worlds[0].number()}
    finally:
        workers.close()


def test_a_worker_that_waits_for_the_candidate_goes_on_when_the_trial_ends(tmp_path: Path) -> None:
    workers = Workers(tmp_path, 2, "m:v1")
    try:
        workers.source.add("m:v2", digest="sha256:2", latest=False)
        workers.settle()
        try_out(workers, "v2", 0.3)
        workers.settle()
        late = workers.join(2)
        workers.worlds.append(late)
        workers.load(2)
        late.step()
        try_out(workers, None)
        workers.settle()
        assert workers.all() == ["v1"] * 3
        assert late.loader.loads.count("m:v1") == 1
        workers.aim("v2")
        workers.settle()
        assert workers.all() == ["v2"] * 3
        assert all(each.closed for each in late.loader.made if each.tag.version == "v1")
    finally:
        workers.close()


@pytest.mark.anyio
async def test_control_waits_for_it_and_puts_back_what_fails() -> None:
    with live("m:v1") as world:
        world.source.add("m:v2", digest="sha256:2", latest=False)
        world.source.add("m:v3", digest="sha256:3", latest=False)
        world.loader.fails["v3"] = {"check": ModelFailed("NaN")}
        control: Control = world.control
        await world.reconciler.view.wait_until(lambda: world.serving() == "v1", 5.0)
        world.turning._reconciler.wake()
        assert await control.set_canary(CanaryChange("m", "v2", 0.2, "test"), 5.0)
        assert world.reconciler.view.canary("m") == CanaryStatus("v2", 0.2)
        with pytest.raises(VersionFailed, match="m:v3 was refused: NaN"):
            await control.set_canary(CanaryChange("m", "v3", 0.2, "test"), 5.0)
        stored = world.store.read().models["m"].canary
        assert stored == CanaryTarget(version="v2", share=0.2)
        with pytest.raises(VersionNotFound):
            await control.set_canary(CanaryChange("m", "v9", 0.2, "test"), 5.0)
        with pytest.raises(Conflict, match="it answers alone"):
            await control.set_canary(CanaryChange("m", "v1", 0.2, "test"), 5.0)
        assert await control.end_canary("m", "test", None, 5.0)
        assert world.reconciler.view.canary("m") is None


def test_a_target_set_to_the_candidate_in_one_edit_of_another_worker(tmp_path: Path) -> None:
    workers = Workers(tmp_path, 2, "m:v1")
    try:
        workers.source.add("m:v2", digest="sha256:2", latest=False)
        workers.settle()
        try_out(workers, "v2", 0.3)
        workers.settle()
        workers.store.edit(set_target("m", "v2", "test", None))
        workers.worlds[1].step()
        assert workers.all() == ["v2", "v2"]
        workers.settle()
        assert [world.loader.loads for world in workers.worlds] == [["m:v1", "m:v2"]] * 2
    finally:
        workers.close()
