"""A candidate beside the target, in two workers and under load: shares, keys, promotion, end."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable

import httpx
import pytest

from tests.e2e.harness import Service
from tests.e2e.load import Load
from tests.e2e.pictures import picture
from tests.e2e.sizes import FULL_SIZE, LIMIT
from tests.e2e.stores import Store
from tests.e2e.waiting import until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(2 * LIMIT)]

REQUESTS = 10_000 if FULL_SIZE else 1_500
SHARE = 0.2


def canary(service: Service) -> dict[str, object] | None:
    """What the service says of the trial."""
    found: dict[str, object] | None = service.model()["canary"]
    return found


def test_shares_keys_promotion_and_end(make_service: Callable[..., Service], store: Store) -> None:
    store.add("v1", 1)
    service = make_service(store.home, WORKERS="2").ready()
    assert service.target("v1").status_code == 200
    store.add("v2", 2)
    with Load(service) as load:
        assert "m:v2 gets 0.2 of the requests" in store.okawari("canary", "m", "v2", "--share", "20%")
        begun = len(load.shots)
        load.reach(begun + REQUESTS)
        shots = load.shots[begun:]
        tried = sum(shot.claimed == "v2" for shot in shots)
        sigma = math.sqrt(len(shots) * SHARE * (1 - SHARE))
        assert abs(tried - SHARE * len(shots)) < 4 * sigma
        assert canary(service) == {"version": "v2", "share": SHARE}

        seen: dict[str, set[str]] = {}
        with httpx.Client(base_url=service.url, timeout=60) as client:
            for turn in range(200):
                key = f"camera-{turn % 40}"
                headers = {"X-Route-Key": key, "Content-Type": "image/jpeg", "Connection": "close"}
                answer = client.post("/predict", params={"model": "m"}, content=picture(), headers=headers)
                seen.setdefault(key, set()).add(answer.json()["model_version"])
        assert all(len(versions) == 1 for versions in seen.values())
        assert Counter(version for versions in seen.values() for version in versions)["v2"] > 0

        assert (
            "it answers alone"
            in service.client.put("/models/m/canary", json={"version": "v1", "share": 0.5}).text
        )
        store.okawari("canary", "m", "--end")
        until(lambda: canary(service) is None, "the trial has ended")
        load.sees("v1")
        assert service.client.put("/models/m/canary", json={"version": 2, "share": 0.5}).status_code == 200
        load.sees("v2")
        assert service.target("v2").status_code == 200  # promoted
        service.serves("v2")
        until(lambda: canary(service) is None, "nothing is beside it")
    assert load.failures == []
    assert load.contradictions == []
