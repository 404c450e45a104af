"""Places for messages on their way: who waits, who gives way, and who does not."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import uvloop

from api.grpc import flow_control
from api.grpc.flow_control import ReceiveSlots
from hotswap.errors import Overloaded

pytestmark = pytest.mark.anyio

BOTH = pytest.mark.parametrize("run", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody keeps a place that others need."""
    monkeypatch.setattr(flow_control, "PATIENCE", 0.0)


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


async def ended(*tasks: asyncio.Task[Any]) -> list[Any]:
    """What became of them after they were cancelled, where they still ran."""
    for task in tasks:
        task.cancel()
    return await asyncio.gather(*tasks, return_exceptions=True)


@pytest.mark.usefixtures("impatient")
async def test_who_has_read_longest_gives_way_and_the_others_do_not() -> None:
    many = ReceiveSlots(3)
    first, second, third = [await begin(many, silence) for _ in range(3)]
    assert await many.read(word, None) == b"word"
    with pytest.raises(Overloaded, match="others wait"):
        await first
    assert (second.done(), third.done(), many.taken) == (False, False, 2)
    assert await many.read(word, None) == b"word"
    assert not second.done()
    await ended(second, third)
    assert many.taken == 0


async def test_nobody_gives_way_before_the_time_has_come() -> None:
    many = ReceiveSlots(1)
    first = await begin(many, silence)
    waiting = await begin(many, word)
    assert (first.done(), waiting.done()) == (False, False)
    (timer,) = [many._timer]
    assert timer is not None
    assert (
        flow_control.PATIENCE - 1 < timer.when() - asyncio.get_running_loop().time() <= flow_control.PATIENCE
    )
    await ended(first, waiting)


async def test_when_the_time_comes_the_place_is_taken_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flow_control, "PATIENCE", 0.05)
    many = ReceiveSlots(1)
    first = await begin(many, silence)
    assert await many.read(word, None) == b"word"
    assert isinstance((await ended(first))[0], Overloaded)


async def test_who_comes_while_others_wait_may_not_stay_either(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flow_control, "PATIENCE", 0.05)
    many = ReceiveSlots(1)
    silent = [await begin(many, silence) for _ in range(3)]
    assert await many.read(word, None) == b"word"
    assert [type(each) for each in await ended(*silent)] == [Overloaded] * 3


@pytest.mark.usefixtures("impatient")
async def test_where_a_place_is_free_nobody_gives_way() -> None:
    many = ReceiveSlots(2)
    first = await begin(many, silence)
    for _ in range(5):
        assert await many.read(word, None) == b"word"
    assert not first.done()
    await ended(first)


async def test_for_who_waits_no_longer_nobody_gives_way(monkeypatch: pytest.MonkeyPatch) -> None:
    many = ReceiveSlots(1)
    first = await begin(many, silence)
    waiting = await begin(many, word)
    await ended(waiting)
    monkeypatch.setattr(flow_control, "PATIENCE", 0.0)
    many._look()  # as its timer does
    await rest()
    assert not first.done()
    await ended(first)


@pytest.mark.usefixtures("impatient")
async def test_a_place_that_is_about_to_be_free_is_enough_for_one() -> None:
    """The first has run out of time and its task has not gone on yet when the next one comes."""
    many = ReceiveSlots(2)
    loop = asyncio.get_running_loop()
    first, second = await begin(many, silence), await begin(many, silence)
    (limit, *_) = [each.limit for each in many._turns]
    limit.reschedule(loop.time())
    assert await asyncio.create_task(many.read(word, None)) == b"word"
    assert isinstance((await ended(first))[0], TimeoutError)
    assert not second.done()
    await ended(second)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("turns", range(6))
async def test_for_each_who_waits_one_gives_way_whenever_they_come(turns: int) -> None:
    """Also while a place is handed on and the one who gets it does not have it yet."""
    many = ReceiveSlots(4)
    silent = [await begin(many, silence) for _ in range(4)]
    came = [asyncio.create_task(many.read(silence, None))]
    for _ in range(turns):
        await asyncio.sleep(0)
    came.append(asyncio.create_task(many.read(silence, None)))
    await rest()
    assert [each.done() for each in silent] == [True, True, False, False]
    await ended(*silent, *came)


@BOTH
def test_a_deadline_is_no_want_of_places(run: Any) -> None:
    """Loops wake a little early; that is the deadline all the same."""

    async def ask() -> list[Any]:
        many, loop = ReceiveSlots(2), asyncio.get_running_loop()
        until = [loop.time() + each / 3000 for each in range(60)]
        reading = [many.read(silence, each) for each in until]
        return await asyncio.gather(*reading, return_exceptions=True)

    assert {type(each) for each in run(ask())} == {TimeoutError}
