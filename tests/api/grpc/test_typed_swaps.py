"""Models are exchanged under load of every typed call: nothing fails, and no answer lies."""

from __future__ import annotations

import asyncio
import random

import pytest

from api.protos import modelmora_pb2 as mm
from tests.api.grpc.typed import Typed, embedding, picture, typed
from tests.api.grpc.typed_load import TypedLoad

pytestmark = pytest.mark.anyio

SWAPS = 12


async def test_swaps_under_load_of_every_call_fail_nothing_and_no_answer_contradicts_its_version() -> None:
    codes = {f"v{number}": number for number in range(1, SWAPS + 2)}
    async with typed("e:v1", codes=codes) as served:
        load = TypedLoad(served.channel, lambda vector: f"v{round(next(iter(vector)))}")
        async with load.running():
            await load.sees("v1")
            for number in range(2, SWAPS + 2):
                served.world.source.add(f"e:v{number}")
                served.world.reconciler.wake()
                await load.sees(f"v{number}")
        made = served.world.loader.made
        await served.until(lambda: sum(not each.closed for each in made) == 1)
    assert (load.failures, load.contradictions) == ([], [])
    assert load.versions == set(codes)
    assert set(load.answered) == {"unary", "plain", "batch", "states", "predict", "stream"}


async def test_callers_that_leave_at_any_moment_of_a_swap_leave_nothing_behind() -> None:
    async with typed("e:v1", capacity=20, threads=2, in_flight=3) as served:
        chance = random.Random(7)
        for number in range(2, SWAPS + 2):
            served.world.source.add(f"e:v{number}")
            served.world.reconciler.wake()
            await asyncio.gather(*(_leave(served, chance) for _ in range(30)))
            await served.settled("e", f"v{number}")
        await served.nothing_held()
        made = served.world.loader.made
        await served.until(lambda: sum(not each.closed for each in made) == 1)


async def _leave(served: Typed, chance: random.Random) -> None:
    """Begin a call of any kind, and leave after some answers and turns of the loop."""
    batch = mm.BatchRequest(requests=[embedding(f"{number}") for number in range(9)])
    begin = (
        lambda: served.embeddings.GenerateBatch(batch),
        lambda: served.embeddings.GenerateEmbeddingStream(embedding()),
        lambda: served.pictures.PredictStream([picture(model="e")] * 9),
    )
    call = chance.choice(begin)()
    for _ in range(chance.randrange(4)):
        await call.read()
    for _ in range(chance.randrange(40)):
        await asyncio.sleep(0)
    call.cancel()
