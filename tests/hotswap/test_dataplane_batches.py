"""Requests that wait share a run and nothing else: version, deadline, error and place stay each one's own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import cast

import pytest
from anyio import wait_all_tasks_blocked
from anyio.lowlevel import checkpoint

from hotswap import threads
from hotswap.errors import BadPicture, DeadlineExceeded
from hotswap.predictions import Answer, Options, Picture, Predictions, PredictRequest
from tests.hotswap.batched import BatchedRunner, batching
from tests.hotswap.fakes import PATIENCE, Hold
from tests.hotswap.served import Served
from tests.hotswap.world import asked

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def batches() -> Iterator[None]:
    with batching(max_size=4):
        yield


class Busy(Served):
    """A world whose only thread is held by other work until `go_on`."""

    def __init__(self, *tags: str, threads: int = 1) -> None:
        super().__init__(*tags, capacity=16, threads=threads)
        self.loader.codes = {"v1": 1, "v2": 2}
        self.settle()
        self.blocked = Hold()

    async def begin(self) -> None:
        """Hold the thread."""
        self.blocker = asyncio.create_task(self.plane.aside(self.blocked.stop_here, asked().deadline))
        await asyncio.to_thread(self.blocked.reached)

    async def queue(self, *requests: PredictRequest) -> list[asyncio.Task[Answer]]:
        """Requests that wait for the thread, in this order."""
        tasks = [asyncio.create_task(self.plane.predict(each)) for each in requests]
        await wait_all_tasks_blocked()
        assert self.pool.queued >= len(tasks)
        return tasks

    async def go_on(self) -> None:
        """Let the thread go."""
        self.blocked.let_go()
        await self.blocker

    def runner(self, version: str = "v1") -> BatchedRunner:
        """What answers for a version."""
        return cast(BatchedRunner, self.loader.of(version))


async def test_those_who_wait_share_runs_and_each_gets_its_answer() -> None:
    world = Busy("m:v1")
    await world.begin()
    tasks = await world.queue(*(asked() for _ in range(6)))
    await world.go_on()
    answers = await asyncio.gather(*tasks)
    assert [answer.predictions[0].detections[0].label_id for answer in answers] == [1] * 6
    assert world.runner().together == [4, 2]
    await world.end()


async def test_a_batch_has_one_version_though_the_model_switches_meanwhile() -> None:
    world = Busy("m:v1")
    await world.begin()
    old = await world.queue(asked(), asked())
    world.source.add("m:v2", "sha256:2")
    world.settle()
    new = await world.queue(asked(), asked(), asked())
    await world.go_on()
    answers = await asyncio.gather(*old, *new)
    assert [answer.version for answer in answers] == ["v1", "v1", "v2", "v2", "v2"]
    assert [answer.predictions[0].detections[0].label_id for answer in answers] == [1, 1, 2, 2, 2]
    assert (world.runner("v1").together, world.runner("v2").together) == ([2], [3])
    world.settle()
    assert world.runner("v1").closed == 1
    await world.end()


async def test_others_in_between_keep_their_place_and_their_options() -> None:
    world = Busy("m:v1")
    await world.begin()
    other = Options(threshold=0.9)
    tasks = await world.queue(asked(), replace(asked(), options=other), asked(), asked())
    await world.go_on()
    await asyncio.gather(*tasks)
    assert (world.runner().together, world.runner().served) == ([3], 4)
    await world.end()


async def test_the_deadline_of_one_ends_one() -> None:
    world = Busy("m:v1")
    held = world.runner().hold = Hold()
    await world.begin()
    first, soon, last = await world.queue(asked(), asked(seconds=0.2), asked())
    world.blocked.let_go()
    await asyncio.to_thread(held.reached)
    # The batch runs: its member is told in time, its place comes back with the thread.
    with pytest.raises(DeadlineExceeded):
        await soon
    assert world.admission.inside == 3
    held.let_go()
    assert [(await each).version for each in (first, last)] == ["v1", "v1"]
    assert world.runner().together == [3]
    await world.blocker
    await world.end()


async def test_a_broken_picture_and_a_failing_end_are_their_own_requests() -> None:
    world = Busy("m:v1")
    runner = world.runner()
    plain = runner.predict

    def predict(pictures: list[Picture], options: Options) -> Predictions:
        if pictures[0].encoded == b"broken":
            raise BadPicture("it is broken")
        return plain(pictures, options)

    runner.predict = predict  # type: ignore[method-assign, assignment]

    def refuse(_: Predictions) -> None:
        raise BadPicture("it cannot be drawn")

    await world.begin()
    broken = replace(asked(), pictures=(Picture(encoded=b"broken"),))
    tasks = await world.queue(asked(), broken, replace(asked(), then=refuse), asked())
    await world.go_on()
    good, bad, undrawn, last = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(each) for each in (good, bad, undrawn, last)] == [Answer, BadPicture, BadPicture, Answer]
    assert [str(each) for each in (bad, undrawn)] == ["it is broken", "it cannot be drawn"]
    assert runner.together == [4]
    await world.end()


async def test_a_run_that_fails_as_a_whole_fails_for_each() -> None:
    world = Busy("m:v1")
    world.runner().predict_each = lambda *_: 1 / 0  # type: ignore[method-assign, assignment, return-value]
    await world.begin()
    tasks = await world.queue(asked(), asked())
    await world.go_on()
    found = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(each) for each in found] == [ZeroDivisionError] * 2
    assert (await world.plane.predict(asked())).version == "v1"
    await world.end()


@pytest.fixture
def endless(monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch waits until it is full."""
    wait: Callable[..., float] = lambda key, members, **_: 0.0 if members >= key.size else PATIENCE  # noqa: E731
    monkeypatch.setattr(threads, "seconds_to_wait", wait)


async def growing(world: Busy) -> asyncio.Task[Answer]:
    """A request whose thread waits for more."""
    task = asyncio.create_task(world.plane.predict(asked()))
    while not world.pool._growing:
        await checkpoint()
    return task


@pytest.mark.usefixtures("endless")
async def test_who_comes_while_a_batch_waits_joins_it_and_others_find_another_thread() -> None:
    with batching(max_size=2, max_wait_ms=100):
        world = Busy("m:v1", threads=2)
    first = await growing(world)
    for _ in range(2):  # after the first one, the batch's thread has waited for longer than the other
        await asyncio.wait_for(world.plane.aside(lambda: None, asked().deadline), PATIENCE / 2)
    assert not first.done()
    second = asyncio.create_task(world.plane.predict(asked()))
    await asyncio.gather(first, second)
    assert world.runner().together == [2]
    await world.end()


@pytest.mark.usefixtures("endless")
async def test_a_service_that_ends_waits_for_no_more_members() -> None:
    with batching(max_size=2, max_wait_ms=100):
        world = Busy("m:v1")
    first = await growing(world)
    assert await asyncio.to_thread(world.pool.close, PATIENCE / 2)
    assert (await first).version == "v1"
    await world.end()


async def test_a_batch_waits_no_longer_than_the_config_says() -> None:
    with batching(max_size=2, max_wait_ms=20):
        world = Busy("m:v1")
    assert (await world.plane.predict(asked())).version == "v1"
    assert (world.runner().together, world.runner().served) == ([], 1)
    await world.end()
