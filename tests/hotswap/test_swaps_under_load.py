"""Thousands of requests over hundreds of swaps: every answer is what the version it names would say."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Iterator

import pytest

from hotswap.dataplane import Answer
from hotswap.desired import set_target
from tests.hotswap.world import LiveWorld, asked, live

pytestmark = pytest.mark.anyio

SWAPS = 200
CLIENTS = 12
CODES = {"v1": 101, "v2": 102, "v3": 103}


@pytest.fixture(autouse=True)
def small_heap() -> Iterator[None]:
    """Every close collects garbage: what the test run has loaded so far need not be searched each time."""
    gc.freeze()
    yield
    gc.unfreeze()


async def flip(world: LiveWorld, ended: asyncio.Event) -> None:
    """Swap between three versions, each swap waited for."""
    for number in range(SWAPS):
        version = f"v{number % 3 + 1}"
        world.store.edit(set_target("m", version, "test", None))
        world.reconciler.wake()
        assert await world.control.changes.until(lambda version=version: world.serving() == version, 5.0)
    ended.set()


async def ask_on(world: LiveWorld, ended: asyncio.Event) -> list[Answer]:
    """Ask until the swaps have ended."""
    answers = []
    while not ended.is_set():
        answers.append(await world.data_plane.predict(asked()))
    return answers


async def test_no_request_fails_and_no_answer_contradicts_the_version_it_claims() -> None:
    with live("m:v3", "m:v2", "m:v1", codes=CODES) as world:
        assert await world.control.changes.until(lambda: world.serving() == "v1", 5.0)
        ended = asyncio.Event()
        async with asyncio.TaskGroup() as tasks:
            clients = [tasks.create_task(ask_on(world, ended)) for _ in range(CLIENTS)]
            tasks.create_task(flip(world, ended))
        answers = [answer for client in clients for answer in client.result()]
        assert await world.control.changes.until(lambda: world.reconciler.idle, 5.0)
    told = {(each.version, each.predictions[0].detections[0].label_id) for each in answers}
    assert told == set(CODES.items())
    assert len(answers) > 2000
    assert len({each.generation for each in answers}) > 100
    assert all(later.generation >= earlier.generation for earlier, later in pairs(clients))
    assert [each.closed for each in world.loader.made] == [1] * (SWAPS - 1) + [0]


def pairs(clients: list[asyncio.Task[list[Answer]]]) -> list[tuple[Answer, Answer]]:
    """Each client's answers, two that follow each other at a time."""
    return [pair for each in clients for pair in zip(each.result(), each.result()[1:], strict=False)]
