"""Places for messages on their way: slow senders never have all of them."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import uvloop

from api.grpc.flow_control import ReceiveSlots
from hotswap.errors import Overloaded

pytestmark = pytest.mark.anyio

BOTH = pytest.mark.parametrize("run", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
NEVER = 600.0


async def rest() -> None:
    """Turns of the loop, more than any chain of callbacks here has."""
    for _ in range(20):
        await asyncio.sleep(0)


async def begin(many: ReceiveSlots, read: Any, until: float | None = None) -> asyncio.Task[Any]:
    """Somebody reads, or waits for a place."""
    task = asyncio.create_task(many.read(read, until))
    await rest()
    return task


async def silence() -> None:
    """Nothing comes."""
    await asyncio.Event().wait()


async def word() -> bytes:
    """A message that is there."""
    return b"word"


async def ended(*tasks: asyncio.Task[Any]) -> list[type[Any]]:
    """What became of them after they were cancelled, where they still ran."""
    for task in tasks:
        task.cancel()
    return [type(each) for each in await asyncio.gather(*tasks, return_exceptions=True)]


async def test_there_are_as_many_places_as_told_and_the_others_wait_in_their_order() -> None:
    many = ReceiveSlots(2, NEVER)
    reading = [await begin(many, silence) for _ in range(2)]
    waiting = [await begin(many, word) for _ in range(2)]
    assert (many.taken, [each.done() for each in waiting]) == (2, [False, False])
    await ended(reading[0])
    await rest()
    assert [each.done() for each in waiting] == [True, True]
    assert many.taken == 1
    await ended(reading[1])
    assert many.taken == 0


@pytest.mark.parametrize("slow", [3, 25, 60])
async def test_whoever_waits_behind_slow_senders_is_heard_long_before_their_deadline(slow: int) -> None:
    many = ReceiveSlots(25, 0.02)
    loop = asyncio.get_running_loop()
    senders = [await begin(many, silence, loop.time() + NEVER) for _ in range(slow)]
    assert [await many.read(word, loop.time() + 10) for _ in range(30)] == [b"word"] * 30
    async with asyncio.timeout(10):
        while sum(not each.done() for each in senders) > 12:
            await asyncio.sleep(0.002)
    kept = min(slow, 12)
    assert many.taken == kept
    outcomes = await ended(*senders)
    assert outcomes.count(asyncio.CancelledError) == kept
    assert outcomes.count(Overloaded) == slow - kept


async def test_a_slow_message_that_arrives_makes_room_for_another_slow_one() -> None:
    many = ReceiveSlots(2, 0.0)
    arrived = asyncio.Event()
    for _ in range(3):
        arrived.clear()
        slow = await begin(many, arrived.wait)
        refused = await begin(many, silence)
        with pytest.raises(Overloaded, match="1 others"):
            await refused
        arrived.set()
        assert await slow
    assert many.taken == 0


async def test_one_place_alone_is_kept_by_nobody() -> None:
    many = ReceiveSlots(1, 0.0)
    with pytest.raises(Overloaded):
        await many.read(silence, None)
    assert await many.read(word, None) == b"word"


async def test_who_waits_no_longer_leaves_its_place_in_the_line_to_the_next() -> None:
    many = ReceiveSlots(1, NEVER)
    first, gone = await begin(many, silence), await begin(many, silence)
    last = await begin(many, word)
    await ended(gone, first)
    assert await last == b"word"


@BOTH
def test_a_deadline_is_no_want_of_places(run: Any) -> None:
    """Loops wake a little early; that is the deadline all the same."""

    async def ask() -> list[Any]:
        many, loop = ReceiveSlots(2, NEVER), asyncio.get_running_loop()
        until = [loop.time() + each / 3000 for each in range(60)]
        reading = [many.read(silence, each) for each in until]
        return await asyncio.gather(*reading, return_exceptions=True)

    assert {type(each) for each in run(ask())} == {TimeoutError}
