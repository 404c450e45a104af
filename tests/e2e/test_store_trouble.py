"""Whatever happens to the store, what serves goes on serving."""

from __future__ import annotations

import math
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.e2e.harness import Service
from tests.e2e.load import Load, Readiness
from tests.e2e.reporting import Start
from tests.e2e.sizes import LIMIT
from tests.e2e.stores import Store
from tests.e2e.waiting import until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(LIMIT)]


@contextmanager
def _undisturbed(service: Service) -> Iterator[Load]:
    with Readiness(service) as readiness, Load(service, kept=1, fresh=1) as load:
        yield load
        load.reach(len(load.shots) + 20)
    assert load.failures == []
    assert load.contradictions == []
    assert readiness.flaps == []


def _look(service: Service) -> None:
    """Make sure that the service has looked at the store since."""
    assert service.client.post("/api/v1/reload").status_code == 200


def test_files_that_vanish_take_nothing_away(make_service: Start, store: Store) -> None:
    store.add("v1", 1)
    store.add("v2", 2)
    service = make_service(store.home, OKAWARI_GUARD_SECONDS="0").ready()
    with _undisturbed(service) as load:
        # The version that serves is deleted: `latest` names nothing.
        store.remove("v2")
        _look(service)
        load.sees("v2")
        assert service.states()["v2"]["state"] == "serving"
        assert "latest" in service.model()["reason"]

        store.point("")
        _look(service)
        load.sees("v2")

        # The whole model, then the whole store.
        kept = store.home / "kept"
        shutil.move(store.models / "m", kept)
        _look(service)
        load.sees("v2")
        assert service.model()["reason"] == "not in the store"
        shutil.move(store.models, store.home / "away")
        _look(service)
        load.sees("v2")
        store.models.mkdir()
        _look(service)
        load.sees("v2")
        store.models.rmdir()
        shutil.move(store.home / "away", store.models)
        shutil.move(kept, store.models / "m")

        store.add("v3", 3)
        load.sees("v3")
        # v2 is shown until its last answer is out.
        until(lambda: set(service.states()) == {"v1", "v3"}, "v2 is gone")
        assert service.target("v2").status_code == 404


def test_a_bad_version_never_answers_and_says_why(make_service: Start, store: Store) -> None:
    store.add("v1", 1)
    service = make_service(store.home).ready()
    with _undisturbed(service) as load:
        store.add("v2", 2, best=math.nan)
        reason = until(lambda: _failed(service, "v2"), "v2 is refused")
        assert "self-check" in reason or "warm-up" in reason
        load.sees("v1")

        half = store.source("v3", 3)
        weights = (half / "weights.onnx").read_bytes()
        (half / "weights.onnx").write_bytes(weights[: len(weights) // 2])
        store.take(half)
        until(lambda: _failed(service, "v3"), "v3 is refused")
        load.sees("v1")

        assert service.target("v1").status_code == 200
        before = service.model()
        for bad in ("v2", 3):
            answer = service.target(bad, reason="try it")
            assert answer.status_code == 409, answer.text
            assert answer.json()["error"]["code"] == "version_failed"
            assert service.model()["target"] == "v1"
        assert "NaN" in service.target("v2").text or "finite" in service.target("v2").text
        assert service.model()["revision"] > before["revision"]
        assert service.model()["generation"] == before["generation"]

        store.add("v4", 4)
        assert service.target("latest").status_code == 200
        load.sees("v4")


def test_a_swap_that_takes_longer_is_accepted_and_made_when_it_can_be(
    make_service: Start, store: Store
) -> None:
    store.add("v1", 1)
    store.add("v2", 2)
    service = make_service(store.home, OKAWARI_SWAP_TIMEOUT="0.5").ready()
    assert service.target("v2").status_code in (200, 202)  # on a busy machine, too
    service.serves("v2")
    weights = store.models / "m" / "v1" / "weights.onnx"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:100])
    answer = service.target("v1")
    assert (answer.status_code, answer.headers["location"]) == (202, "/models/m")
    assert answer.json()["serving"] == "v2"
    until(lambda: service.get(answer.headers["location"]).json()["target"] == "v1", "the target is seen")
    # The answer came after the timeout; the look that finds the file cut off may come later.
    until(lambda: service.states()["v1"]["state"] == "unservable", "v1 is found cut off")
    assert service.version() == "v2"
    weights.write_bytes(whole)
    service.serves("v1")
    assert service.version() == "v1"


def test_a_flipped_byte_is_found(make_service: Start, store: Store) -> None:
    store.add("v1", 1)
    store.add("v2", 2)
    service = make_service(store.home, OKAWARI_SERVE="m:v1").ready()
    weights = store.models / "m" / "v2" / "weights.onnx"
    data = bytearray(weights.read_bytes())
    data[len(data) // 2] ^= 1
    weights.write_bytes(data)
    answer = service.target("v2")
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "version_failed")
    assert "sha256" in answer.json()["error"]["message"]
    assert "okawari remove m v2" in service.states()["v2"]["reason"]
    assert service.version() == "v1"


def _failed(service: Service, version: str) -> str | None:
    found = service.states().get(version, {})
    return str(found["reason"]) if found.get("state") == "failed" else None
