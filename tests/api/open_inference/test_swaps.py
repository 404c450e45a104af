"""A swap costs clients of the Open Inference Protocol nothing, and no answer lies about its version."""

from __future__ import annotations

import pytest

from tests.api.open_inference.load import ProtocolLoad
from tests.e2e.reporting import Start
from tests.e2e.sizes import LIMIT, SIZES
from tests.e2e.stores import Store

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(LIMIT)]


@pytest.mark.parametrize("workers", ["1", "2"])
def test_swaps_under_load_fail_no_request_of_the_protocol(
    make_service: Start, store: Store, workers: str
) -> None:
    store.add("v1", 1)
    service = make_service(store.home, WORKERS=workers).ready()
    with ProtocolLoad(service) as load:
        for swap in range(1, SIZES.swaps + 1):
            if swap % 2:
                store.add(f"v{swap + 1}", swap + 1)
                load.sees(f"v{swap + 1}")
                assert service.target("v1").status_code == 200
                load.sees("v1")
            else:
                assert service.target("latest").status_code == 200
                answer = service.client.post("/v2/repository/models/m/load")
                assert answer.status_code == 200, answer.text
                load.sees(f"v{swap}")
            load.reach(SIZES.requests * swap // (SIZES.swaps + 1))
        load.reach(SIZES.requests)
    print(
        f"{len(load.shots)} requests over {SIZES.swaps} rounds: {len(load.failures)} failures, "
        f"{len(load.contradictions)} contradictions; {load.counts}"
    )
    assert load.failures == []
    assert load.contradictions == []
    assert {shot.fresh for shot in load.shots} == {True, False}
    assert all(count > len(load.shots) // 10 for count in load.counts.values()), load.counts
    truth = {(version, each["digest"]) for version, each in service.states().items()}
    assert load.digests <= truth
    assert len({version for version, _ in load.digests}) > SIZES.swaps // 2
