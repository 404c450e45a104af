"""A request: admission, lease, thread, answer."""

from __future__ import annotations

import asyncio
import threading
import time
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from anyio.lowlevel import checkpoint

from hotswap.admission import Admission
from hotswap.dataplane import Answer, DataPlane, PredictRequest, TensorRequest
from hotswap.desired import seed
from hotswap.errors import (
    BadPicture,
    BadRequest,
    DeadlineExceeded,
    ModelNotFound,
    ModelNotReady,
    ModelRequired,
    Overloaded,
    PictureTooLarge,
    ServingError,
    VersionNotFound,
    VersionNotLoaded,
)
from hotswap.hooks import NoHooks
from hotswap.pool import Pool
from hotswap.runner import Predictions
from tests.hotswap.fakes import PATIENCE, Hold
from tests.hotswap.world import World, asked

pytestmark = pytest.mark.anyio


class Served(World):
    """A world with a data plane; the reconciler still moves only when told."""

    def __init__(self, *tags: str, capacity: int = 4, threads: int = 1) -> None:
        super().__init__(*tags)
        self.hold = Hold()
        self.loader.holds["held"] = self.hold
        self.pool = Pool(threads)
        self.admission = Admission(capacity)
        self.plane = DataPlane(self.reconciler, self.admission, self.pool)

    def ask(self, version: str | None = None, seconds: float = 30.0) -> asyncio.Task[Answer]:
        """A request under way."""
        return asyncio.create_task(self.plane.predict(asked("m", version, seconds)))

    async def held(self) -> asyncio.Task[Answer]:
        """A request that stands still in its thread."""
        task = self.ask()
        await asyncio.to_thread(self.hold.reached)
        return task

    async def end(self) -> None:
        """Let everything end; nothing may be left behind or have been misused."""
        self.hold.let_go()
        assert await asyncio.to_thread(self.pool.close, PATIENCE)
        assert (self.admission.inside, self.loader.misused) == (0, [])


async def test_an_answer_names_the_version_the_digest_and_the_generation_that_gave_it() -> None:
    world = Served("m:v1")
    world.source.add("m:v2", "sha256:2")
    world.loader.codes = {"v1": 1, "v2": 2}
    world.settle()
    answer = await world.plane.predict(asked())
    assert (answer.version, answer.digest, answer.generation) == ("v2", "sha256:2", 1)
    assert answer.predictions[0].detections[0].label_id == 2
    await world.end()


async def test_a_request_past_its_deadline_keeps_lease_and_permit_until_its_thread_ends() -> None:
    world = Served("m:held", capacity=1)
    world.settle()
    task = world.ask(seconds=0.05)
    await asyncio.to_thread(world.hold.reached)
    with pytest.raises(DeadlineExceeded):
        await task
    generation = world.reconciler.slots["m"].current
    assert generation is not None
    assert (generation.leases, world.admission.inside) == (1, 1)
    with pytest.raises(Overloaded):
        await world.plane.predict(asked())
    await world.end()
    assert generation.leases == 0


async def test_a_generation_that_retires_under_a_cancelled_request_is_closed_after_its_thread() -> None:
    world = Served("m:held")
    world.settle()
    task = await world.held()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    world.source.add("m:v2")
    world.settle()
    old = world.loader.of("held")
    assert (world.serving(), old.closed) == ("v2", 0)
    await world.end()
    world.background.run_all()
    assert (old.closed, old.misused) == (1, [])


async def test_a_request_that_is_answered_lets_its_retired_generation_close() -> None:
    world = Served("m:held")
    world.settle()
    task = await world.held()
    world.source.add("m:v2")
    world.settle()
    assert world.loader.of("held").closed == 0
    world.hold.let_go()
    assert (await task).version == "held"
    world.settle()
    assert world.loader.of("held").closed == 1
    assert world.reconciler.slots["m"].draining == ()
    await world.end()


async def test_a_cancelled_request_in_the_queue_gives_its_place_back_at_once_and_never_runs() -> None:
    world = Served("m:held", capacity=2)
    world.settle()
    running = await world.held()
    queued = world.ask()
    await checkpoint()
    with pytest.raises(Overloaded):
        await world.plane.predict(asked())
    queued.cancel()
    with pytest.raises(asyncio.CancelledError):
        await queued
    assert world.admission.inside == 1
    world.hold.let_go()
    await running
    await world.end()
    assert world.loader.of("held").served == 1


async def test_a_request_that_is_refused_or_fails_gives_its_place_back() -> None:
    world = Served("m:v1", capacity=1)
    world.loader.fails["v1"] = {"predict": BadPicture("broken")}
    world.settle()
    for wrong in (asked("other"), asked("m", "v9"), asked()):
        with pytest.raises((ModelNotFound, VersionNotFound, BadPicture)):
            await world.plane.predict(wrong)
        assert world.admission.inside == 0
    await world.end()


async def test_a_time_out_of_the_model_s_own_is_not_taken_for_the_deadline() -> None:
    world = Served("m:v1")
    world.loader.fails["v1"] = {"predict": TimeoutError("a device did not answer")}
    world.settle()
    with pytest.raises(TimeoutError, match="device"):
        await world.plane.predict(asked())
    await world.end()


async def test_running_never_exceeds_the_threads_nor_all_work_the_capacity() -> None:
    world = Served("m:v1", capacity=7, threads=3)
    world.settle()
    runner = world.loader.of("v1")
    outcomes: dict[str, int] = {"answered": 0, "refused": 0, "gone": 0}
    most_inside = 0

    async def client(number: int) -> None:
        nonlocal most_inside
        for turn in range(40):
            task = world.ask()
            await checkpoint()
            most_inside = max(most_inside, world.admission.inside)
            if (number + turn) % 3 == 0:
                task.cancel()
            try:
                await task
                outcomes["answered"] += 1
            except Overloaded:
                outcomes["refused"] += 1
            except asyncio.CancelledError:
                outcomes["gone"] += 1

    await asyncio.gather(*(client(number) for number in range(40)))
    assert sum(outcomes.values()) == 1600
    assert min(outcomes.values()) > 0
    assert most_inside <= 7
    assert runner.most_running <= 3
    await world.end()


async def code_of(world: Served, model: str | None, version: str | None) -> str:
    """How a request is refused."""
    with pytest.raises(ServingError) as refused:
        await world.plane.predict(asked(model, version))
    return refused.value.code


async def test_each_way_to_miss_a_model_has_its_own_answer() -> None:
    world = Served("m:v1", "m:v2", "other:v1", "failing:v1")
    world.store.edit(seed("m:v2,failing:v1,absent:v1", None))
    world.source.settled.clear()
    world.source.models["failing"] = {}
    world.settle()
    assert await code_of(world, "nobody", None) == ModelNotFound.code
    assert await code_of(world, "other", None) == VersionNotLoaded.code
    assert await code_of(world, "absent", None) == ModelNotReady.code
    assert await code_of(world, "m", "v1") == VersionNotLoaded.code
    assert await code_of(world, "m", "v3") == VersionNotFound.code
    assert await code_of(world, "m", "1") == VersionNotLoaded.code
    assert await code_of(world, "nobody", "v1") == ModelNotFound.code
    await world.end()


async def test_a_version_that_drains_is_not_loaded_even_when_its_files_are_gone() -> None:
    world = Served("m:held")
    world.settle()
    task = await world.held()
    world.source.add("m:v2")
    world.settle()
    world.source.remove("m:held")
    world.step()
    assert await code_of(world, "m", "held") == VersionNotLoaded.code
    world.hold.let_go()
    await task
    await world.end()


async def test_without_a_name_the_default_model_answers_if_there_is_one() -> None:
    world = Served("a:v1", "b:v1")
    world.settle()
    with pytest.raises(ModelRequired):
        await world.plane.predict(asked(None))
    world.source.add("shapes:v1")
    world.settle()
    assert (await world.plane.predict(asked(None))).model == "shapes"
    await world.end()


async def test_a_hook_that_raises_harms_no_answer() -> None:
    class Raising(NoHooks):
        def after_predict(self, request: PredictRequest, answer: Answer) -> None:
            raise RuntimeError("no")

    world = Served("m:v1")
    world.settle()
    plane = DataPlane(world.reconciler, world.admission, world.pool, Raising())
    assert (await plane.predict(asked())).version == "v1"
    await world.end()


async def test_a_request_that_comes_too_late_is_told_so_and_leaves_nothing_behind() -> None:
    world = Served("m:v1")
    world.settle()
    late = replace(asked("m"), deadline=time.monotonic() - 1)
    with pytest.raises(DeadlineExceeded):
        await world.plane.predict(late)
    await world.end()


async def test_a_request_hears_when_a_thread_begins_with_it_and_not_while_it_waits_for_one() -> None:
    world = Served("m:held", threads=1)
    world.settle()
    begun: list[str] = []

    def ask(name: str) -> asyncio.Task[Answer]:
        request = replace(asked(), begun=lambda: begun.append(name))
        return asyncio.create_task(world.plane.predict(request))

    first, second = ask("first"), ask("second")
    await asyncio.to_thread(world.hold.reached)
    assert (begun, world.pool.queued) == (["first"], 1)
    world.hold.let_go()
    await asyncio.gather(first, second)
    assert begun == ["first", "second"]
    await world.end()


async def test_a_model_of_another_task_than_the_request_is_for_does_not_run() -> None:
    world = Served("m:v1", capacity=1)
    world.settle()
    begun: list[bool] = []
    request = replace(asked(), task="image-embedding", begun=lambda: begun.append(True))
    with pytest.raises(BadRequest, match="m:v1 is a model for object-detection, not for image-embedding"):
        await world.plane.predict(request)
    assert (world.loader.of("v1").served, begun, world.admission.inside) == (0, [], 0)
    assert (await world.plane.predict(replace(request, task="object-detection"))).version == "v1"
    assert begun == [True]
    await world.end()


async def test_what_follows_the_model_runs_in_its_thread_with_lease_and_permit() -> None:
    world = Served("m:v1", capacity=1)
    world.settle()
    generation = world.reconciler.slots["m"].current
    assert generation is not None
    seen: list[tuple[str, int, int, int]] = []

    def then(found: Predictions) -> None:
        thread = threading.current_thread().name
        seen.append((thread, len(found.items), generation.leases, world.admission.inside))

    await world.plane.predict(replace(asked(), then=then))
    assert seen == [("okawari-run-0", 1, 1, 1)]
    assert (generation.leases, world.admission.inside) == (0, 0)
    await world.end()


async def test_what_follows_the_model_is_left_out_when_nobody_waits() -> None:
    world = Served("m:held", capacity=1)
    world.settle()
    called: list[Predictions] = []
    task = asyncio.create_task(world.plane.predict(replace(asked(seconds=0.05), then=called.append)))
    await asyncio.to_thread(world.hold.reached)
    with pytest.raises(DeadlineExceeded):
        await task
    world.hold.let_go()
    await asyncio.to_thread(world.pool.close, PATIENCE)
    assert (called, world.admission.inside) == ([], 0)
    await world.end()


async def test_what_follows_the_model_may_refuse() -> None:
    world = Served("m:v1", capacity=1)
    world.settle()

    def refuse(_: Predictions) -> None:
        raise PictureTooLarge("too wide")

    with pytest.raises(PictureTooLarge, match="too wide"):
        await world.plane.predict(replace(asked(), then=refuse))
    assert world.admission.inside == 0
    await world.end()


def tensors(rows: int = 2, **more: Any) -> TensorRequest:
    """A request for the graph itself."""
    inputs = {"x": np.zeros((rows, 2), np.float32)}
    deadline = time.monotonic() + more.pop("seconds", 30.0)
    return TensorRequest(request_id="r", inputs=inputs, deadline=deadline, model="m", **more)


async def test_tensors_are_answered_by_whoever_serves_and_named_as_pictures_are() -> None:
    world = Served("m:v1")
    world.source.add("m:v2", "sha256:2")
    world.loader.codes = {"v2": 2}
    world.settle()
    answer = await world.plane.infer(tensors())
    assert (answer.version, answer.digest, answer.generation) == ("v2", "sha256:2", 1)
    assert answer.tensors["code"].tolist() == [2.0, 2.0]
    await world.end()


async def test_tensors_hold_their_lease_and_place_until_their_thread_ends() -> None:
    world = Served("m:held", capacity=1)
    world.settle()
    task = asyncio.create_task(world.plane.infer(tensors(seconds=0.05)))
    await asyncio.to_thread(world.hold.reached)
    with pytest.raises(DeadlineExceeded):
        await task
    with pytest.raises(Overloaded):
        await world.plane.infer(tensors())
    world.hold.let_go()
    await world.end()
