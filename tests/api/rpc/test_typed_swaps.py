"""Models are exchanged under load of every typed call: nothing fails, and no answer lies."""

from __future__ import annotations

import pytest

from tests.api.rpc.typed import typed
from tests.api.rpc.typed_load import TypedLoad

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
