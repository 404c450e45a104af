"""Streams heard at once: bounded by what has come of their messages, not by how many there are."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable
from typing import Any

import pytest

from api.grpc import flow_control
from api.grpc.flow_control import Streams
from hotswap.errors import Overloaded

pytestmark = pytest.mark.anyio

MOST, SIZE = 100_000, 50_000


class Kernel:
    """What came on connections; one that is left out is not told of."""

    def __init__(self) -> None:
        self.came: Counter[str] = Counter()
        self.asked = 0
        self.known: set[str] = set()
        self.unknown: set[str] = set()

    def forget(self, peer: str) -> None:
        self.known.discard(peer)

    def received(self, peers: Iterable[str]) -> dict[str, int]:
        self.asked += 1
        self.known.update(peers)
        return {peer: self.came[peer] for peer in peers if peer not in self.unknown}


class World:
    """Streams over a kernel that the test plays."""

    def __init__(self) -> None:
        self.kernel = Kernel()
        self.streams = Streams(MOST, SIZE, self.kernel)

    async def opens(self, *peers: str) -> list[asyncio.Task[Any]]:
        """Streams on which nothing whole comes."""
        for peer in peers:
            self.streams.opened(peer)
        async with asyncio.timeout(10):
            while self.streams._finding is not None:
                await asyncio.sleep(0.001)
        return [await self._reads(peer) for peer in peers]

    async def _reads(self, peer: str) -> asyncio.Task[Any]:
        task = asyncio.create_task(self.streams.read(peer, asyncio.Event().wait))
        await asyncio.sleep(0)
        return task

    async def look(self, times: int = 2) -> None:
        """Wait until it has looked so often; what it has ended, ends."""
        wanted = self.kernel.asked + times
        async with asyncio.timeout(10):
            while self.kernel.asked < wanted:
                await asyncio.sleep(flow_control.LOOK / 10)
        for _ in range(5):
            await asyncio.sleep(0)


@pytest.fixture
async def world(monkeypatch: pytest.MonkeyPatch) -> World:
    """Looks often."""
    monkeypatch.setattr(flow_control, "LOOK", 0.01)
    return World()


async def over(*tasks: asyncio.Task[Any]) -> list[type[Any]]:
    """What became of them; those that still read are cancelled."""
    for task in tasks:
        task.cancel()
    return [type(each) for each in await asyncio.gather(*tasks, return_exceptions=True)]


SILENT = asyncio.CancelledError


async def test_who_is_silent_stays_however_many_there_are(world: World) -> None:
    tasks = await world.opens(*(f"ipv4:10.0.0.{number}:1" for number in range(200)))
    await world.look(5)
    assert world.streams.taken == 200
    assert await over(*tasks) == [SILENT] * 200


async def test_when_too_much_is_on_its_way_the_connection_that_has_most_is_ended(world: World) -> None:
    tasks = await world.opens("a", "b", "c", "d")
    world.kernel.came.update({"a": 30_000, "b": 49_000, "c": 40_000})
    await world.look()
    assert await over(*tasks) == [SILENT, Overloaded, SILENT, SILENT]


async def test_what_fits_may_be_on_its_way_as_long_as_it_likes(world: World) -> None:
    tasks = await world.opens("a", "b", "c")
    world.kernel.came.update({"a": 49_000, "b": 49_000, "c": 2_000})
    await world.look(5)
    assert await over(*tasks) == [SILENT] * 3


async def test_what_was_there_before_the_stream_and_what_became_whole_counts_no_more(world: World) -> None:
    world.kernel.came["a"] = 10**9
    tasks = await world.opens("a", "b", "c")
    for _ in range(1_000):
        world.kernel.came["a"] += 10_400  # frames and headers among them
        world.streams.whole("a", 10_000)
    await world.look(5)
    assert await over(*tasks) == [SILENT] * 3


async def test_what_is_more_than_its_streams_can_hold_was_something_else(world: World) -> None:
    """Calls with long metadata, or refused unread, come on the same connection."""
    tasks = await world.opens("a", "b", "c")
    connection = world.streams._connections["a"]
    world.kernel.came["a"] += 10**9
    await world.look()
    assert connection.waits(world.kernel.came["a"], SIZE) <= SIZE + 65_536
    await over(*tasks)


async def test_pings_of_who_is_silent_never_add_up(world: World) -> None:
    tasks = await world.opens("a", "b", "c")
    connection = world.streams._connections["a"]
    for _ in range(288):  # a day of them, and the next begins where this one did
        world.kernel.came["a"] += 46  # in TLS
        for _ in range(1_200):
            waits = connection.waits(world.kernel.came["a"], SIZE)
            if not waits:
                break
        assert waits == 0
    assert connection.counted == world.kernel.came["a"]
    await over(*tasks)


async def test_a_message_that_was_small_on_its_way_is_no_credit_for_others(world: World) -> None:
    tasks = await world.opens("a", "b", "c")
    world.streams.whole("a", 10**9)  # compressed
    await world.look()
    world.kernel.came["a"] += 101_000
    await world.look()
    assert await over(*tasks) == [Overloaded, SILENT, SILENT]


async def test_a_small_message_that_grew_hides_nothing_on_a_connection_of_its_own(world: World) -> None:
    tasks = await world.opens("a", "b", "c")
    world.kernel.came["a"] += 100
    world.streams.whole("a", 10**9)  # compressed
    world.kernel.came["a"] += 101_000  # before anybody looks
    await world.look()
    assert await over(*tasks) == [Overloaded, SILENT, SILENT]


async def test_calls_beside_a_silent_stream_are_answered_for_with_their_metadata(world: World) -> None:
    tasks = await world.opens("a", "b", "c")
    for _ in range(1_000):
        world.kernel.came["a"] += 3_500
        world.streams.beside("a", 100, lambda: 3_400)
        world.streams.beside("nobody", 100, lambda: 1 // 0)
    await world.look(5)
    assert await over(*tasks) == [SILENT] * 3


async def test_all_streams_of_a_connection_go_together(world: World) -> None:
    tasks = await world.opens("a", "a", "b")
    world.kernel.came["a"] = 101_000
    await world.look()
    assert await over(*tasks) == [Overloaded, Overloaded, SILENT]


async def test_where_nobody_tells_what_came_only_so_many_stay_as_would_fit(world: World) -> None:
    world.kernel.unknown.update("abc")
    tasks = await world.opens("a", "b", "c")
    await world.look(1)
    assert sorted(each.__name__ for each in await over(*tasks)) == [
        "CancelledError",
        "CancelledError",
        "Overloaded",
    ]


async def test_few_streams_cost_no_looks_and_closed_ones_are_forgotten(world: World) -> None:
    tasks = await world.opens("a", "b")
    assert world.streams._timer is None
    more = await world.opens("c")
    await world.look()
    await over(*tasks, *more)
    for peer in "abc":
        world.streams.closed(peer)
    async with asyncio.timeout(10):
        while world.streams._timer is not None:  # a look is due, or it was while they ended
            await asyncio.sleep(flow_control.LOOK / 10)
    assert world.streams.taken == 0
    assert world.kernel.known == set()


async def test_a_stream_that_ends_before_it_is_found_leaves_nothing_behind(world: World) -> None:
    world.streams.opened("a")
    world.streams.closed("a")
    while world.streams._finding is not None:
        await asyncio.sleep(0.001)
    assert world.kernel.asked == 1
    assert world.kernel.known == set()
