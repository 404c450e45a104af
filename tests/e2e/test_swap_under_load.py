"""A swap costs nobody anything: no failed request, no answer that lies about its version."""

from __future__ import annotations

import time

import pytest

from tests.e2e.load import Load, Readiness
from tests.e2e.reporting import Start
from tests.e2e.sizes import LIMIT, SIZES
from tests.e2e.stores import Store

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(LIMIT)]


def test_imports_and_target_changes_under_load_fail_no_request(make_service: Start, store: Store) -> None:
    store.add("v1", 1)
    service = make_service(store.home).ready()
    promised: list[tuple[float, str]] = []
    with Readiness(service) as readiness, Load(service) as load:
        for swap in range(1, SIZES.swaps + 1):
            if swap % 2:
                store.add(f"v{swap + 1}", swap + 1)
                load.sees(f"v{swap + 1}")
                target, version = "v1", "v1"
            else:
                target, version = "latest", f"v{swap}"
            load.reach(SIZES.requests * swap // (SIZES.swaps + 1))
            answer = service.target(target)
            assert answer.status_code == 200, answer.text
            promised.append((time.monotonic(), version))
            assert answer.json()["serving"] == version
        load.reach(max(SIZES.requests, len(load.shots) + 20))
    print(
        f"{len(load.shots)} requests over {SIZES.swaps} rounds: {len(load.failures)} failures, "
        f"{len(load.contradictions)} contradictions, {len(readiness.flaps)} flaps of {readiness.asked} looks"
    )
    assert load.failures == []
    assert load.contradictions == []
    assert readiness.flaps == []
    assert readiness.asked > SIZES.swaps
    assert {shot.fresh for shot in load.shots} == {True, False}
    _keeps_what_it_promised(load, promised)


def _keeps_what_it_promised(load: Load, promised: list[tuple[float, str]]) -> None:
    """The first request that begins after a target change was confirmed is answered by its version."""
    for when, version in promised:
        first = min((shot for shot in load.shots if shot.begun > when), key=lambda shot: shot.begun)
        assert first.claimed == version
