"""Requests share runs of the graph in the real service, and a swap under them still costs nobody anything."""

from __future__ import annotations

import httpx
import pytest

from tests.e2e.load import Load
from tests.e2e.pictures import picture
from tests.e2e.reporting import Start
from tests.e2e.sizes import LIMIT, SIZES
from tests.e2e.stores import Store

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(LIMIT)]

SWAPS = 4
CONFIG = {"batching": {"max_size": 4, "max_wait_ms": 20}}


def test_swaps_under_requests_that_share_runs_fail_none(make_service: Start, store: Store) -> None:
    for number in (1, 2):
        store.add(f"v{number}", number, config=CONFIG)
    service = make_service(store.home).ready()
    alone = httpx.post(
        f"{service.url}/predict", params={"model": "m"}, files={"image": picture()}, timeout=30.0
    )
    # Alone it waits for others, who do not come: batches are on.
    assert alone.json()["timings_ms"]["queue"] >= 19, alone.text
    with Load(service) as load:
        for swap in range(SWAPS):
            load.reach(SIZES.requests * (swap + 1) // (SWAPS + 1) // 3)
            answer = service.target(f"v{swap % 2 + 1}")
            assert answer.status_code == 200, answer.text
        load.reach(SIZES.requests // 3)
    assert (load.failures, load.contradictions) == ([], [])
    assert {shot.claimed for shot in load.shots} == {"v1", "v2"}
