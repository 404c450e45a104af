"""A device that is not there: the service starts, answers on the CPU, and tells."""

from __future__ import annotations

import pytest

from tests.e2e.pictures import picture
from tests.e2e.reporting import Start
from tests.e2e.sizes import LIMIT
from tests.e2e.stores import Store

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(LIMIT)]


def test_a_missing_gpu_is_told_and_the_cpu_answers(make_service: Start, store: Store) -> None:
    store.add("v1", 1)
    service = make_service(store.home, OKAWARI_DEVICE="cuda:0", WORKERS="1").ready()
    assert service.predict(picture()).status_code == 200
    (version,) = service.get("/models/m").json()["versions"]
    assert version["device"] == "cpu"
    assert "CUDAExecutionProvider" in version["device_reason"]
    counted = {"model": "m", "device": "cuda:0", "cause": "missing"}
    assert service.figure("device_fallbacks_total", **counted) == 1
    assert "gpu_memory_bytes" not in service.get("/metrics").text
