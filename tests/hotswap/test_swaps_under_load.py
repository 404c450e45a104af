"""Thousands of requests over hundreds of swaps: every answer is what the version it names would say."""

from __future__ import annotations

import asyncio
from contextlib import nullcontext
from itertools import pairwise

import pytest
from anyio.lowlevel import checkpoint

from hotswap.desired import set_target
from hotswap.predictions import Answer
from tests.hotswap.batched import BatchedRunner, batching
from tests.hotswap.world import LiveWorld, asked, live

pytestmark = pytest.mark.anyio

SWAPS = 200
CLIENTS = 12
CODES = {"v1": 101, "v2": 102, "v3": 103}


class Clients:
    """Ask until told to stop, and keep every answer."""

    def __init__(self, world: LiveWorld) -> None:
        self._world = world
        self._answered = 0
        self.stop = False
        self.answers: list[list[Answer]] = [[] for _ in range(CLIENTS)]

    async def ask_on(self, mine: list[Answer]) -> None:
        """One client: the next request follows the answer of the one before."""
        while not self.stop:
            mine.append(await self._world.data_plane.predict(asked()))
            self._answered += 1

    async def answered(self, more: int) -> None:
        """Wait for so many answers more."""
        goal = self._answered + more
        while self._answered < goal:
            await checkpoint()


async def flip(world: LiveWorld, clients: Clients) -> None:
    """Swap between three versions; some answers come between each swap and the next."""
    for number in range(SWAPS):
        version = f"v{number % 3 + 1}"
        world.store.edit(set_target("m", version, "test", None))
        world.reconciler.wake()
        assert await world.reconciler.view.wait_until(lambda version=version: world.serving() == version, 5.0)
        await clients.answered(2 * CLIENTS)
    clients.stop = True


@pytest.mark.slow
@pytest.mark.parametrize("shared", [False, True], ids=["alone", "in batches"])
async def test_no_request_fails_and_no_answer_contradicts_the_version_it_claims(shared: bool) -> None:
    with batching(max_size=4, max_wait_ms=1) if shared else nullcontext():
        await swap_under_load(shared)


async def swap_under_load(shared: bool) -> None:
    """Hundreds of swaps under twelve clients."""
    with live("m:v3", "m:v2", "m:v1", codes=CODES) as world:
        assert await world.reconciler.view.wait_until(lambda: world.serving() == "v1", 5.0)
        clients = Clients(world)
        async with asyncio.TaskGroup() as tasks:
            for mine in clients.answers:
                tasks.create_task(clients.ask_on(mine))
            tasks.create_task(flip(world, clients))
        assert await world.reconciler.view.wait_until(lambda: world.reconciler.view.idle, 5.0)
    answers = [answer for each in clients.answers for answer in each]
    assert len(answers) >= 2 * CLIENTS * SWAPS
    assert {(each.version, each.predictions[0].detections[0].label_id) for each in answers} == set(
        CODES.items()
    )
    assert {each.generation for each in answers} == set(range(1, SWAPS + 1))
    assert all(later.generation >= earlier.generation for earlier, later in pairs(clients))
    assert [each.closed for each in world.loader.made] == [1] * (SWAPS - 1) + [0]
    batches = [
        size for each in world.loader.made if isinstance(each, BatchedRunner) for size in each.together
    ]
    assert (max(batches, default=1) > 1) == shared


def pairs(clients: Clients) -> list[tuple[Answer, Answer]]:
    """Each client's answers, two that follow each other at a time."""
    return [pair for each in clients.answers for pair in pairwise(each)]
