"""`/metrics`: exactly the documented figures, whatever clients send."""

from __future__ import annotations

import re

import grpc
import pytest
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families

from tests.api.test_detect import hand_in
from tests.e2e.harness import ROOT, Service
from tests.e2e.sizes import LIMIT, SOON
from tests.e2e.waiting import until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(LIMIT)]

_ROW = re.compile(r"^\| `(\w+)` \| (counter|histogram|gauge) \|([^|]*)\|", re.MULTILINE)


def _documented() -> dict[str, tuple[str, set[str]]]:
    text = (ROOT / "docs" / "08-crosscutting-concepts.md").read_text()
    rows = _ROW.findall(text)
    return {name: (kind, set(re.findall(r"`(\w+)`", labels))) for name, kind, labels in rows}


def _families(api: Service) -> dict[str, Metric]:
    text = api.get("/metrics").text
    families = text_string_to_metric_families(text)
    return {each.name + ("_total" if each.type == "counter" else ""): each for each in families}


def _labels(family: Metric) -> set[str]:
    return {label for sample in family.samples for label in sample.labels} - {"le"}


#: Nothing of them is seen on a machine without a GPU, of models of a few bytes, and before an eviction.
_NOT_SEEN = (
    "compiled_loads_total",
    "device_fallbacks_total",
    "gpu_memory_bytes",
    "model_events_total",
    "model_evictions_total",
    "model_eviction_age_seconds",
    "model_load_wait_seconds",
    "model_taken_back_total",
)


def test_names_kinds_and_labels_are_those_of_the_documents(api: Service) -> None:
    api.predict(model="m")
    _call(api, "/grpc.health.v1.Health/Check")
    _swap(api)
    assert hand_in(api).status_code == 200
    documented = _documented()
    found = {name: (each.type, _labels(each)) for name, each in _families(api).items()}
    for name in _NOT_SEEN:  # tests of devices and of evictions look at these
        del documented[name]
    assert found == documented
    assert api.get("/metrics").headers["content-type"].startswith("text/plain; version=")


def _call(api: Service, method: str) -> grpc.StatusCode:
    with grpc.insecure_channel(api.grpc_address) as channel:
        call = channel.unary_unary(method).future(b"", timeout=SOON)
        code: grpc.StatusCode = call.code()
        return code


def test_no_client_can_add_series_over_grpc_without_bound(api: Service) -> None:
    def series() -> set[tuple[str, str]]:
        """Whatever worker has counted."""
        labels = [sample.labels for sample in api.samples("grpc_requests_total")]
        return {(each["method"], each["code"]) for each in labels}

    assert _call(api, "/nobody/Nothing") is grpc.StatusCode.UNIMPLEMENTED
    before = series()
    for number in range(50):
        assert _call(api, f"/nobody/Nothing{number}") is grpc.StatusCode.UNIMPLEMENTED
    assert series() == before
    assert api.figure("grpc_requests_total", method="other", code="UNIMPLEMENTED") > 50


def test_the_version_that_served_is_counted(api: Service) -> None:
    before = api.figure("inference_requests_total", model="m", version="v2", status="ok")
    for _ in range(3):
        api.predict(model="m")
    api.predict(model="m", version="v1")
    assert api.figure("inference_requests_total", model="m", version="v2", status="ok") == before + 3
    assert api.figure("inference_requests_total", model="m", version="v1") == 0
    assert api.figure("inference_requests_total", model="m", status="version_not_loaded") > 0
    assert api.figure("model_generation", model="m") == 1
    assert api.figure("model_load_failures_total", model="bad") > 0
    assert api.figure("system_memory_available_bytes") > 0
    assert api.figure("service_info") == 1


def test_no_client_can_add_series_without_bound(api: Service) -> None:
    _odd_requests(api, 0)
    before = _series(api)
    for number in range(1, 40):
        _odd_requests(api, number)
    assert _series(api) == before


def _swap(api: Service) -> None:
    """Swap a model, so that every figure of swaps has been seen."""
    closed = api.figure("model_generations_closed_total", model="other")
    assert api.target("v1", "other").status_code == 200
    assert api.target("latest", "other").status_code == 200
    until(
        lambda: api.figure("model_generations_closed_total", model="other") >= closed + api.count,
        "the first is freed",  # the second is kept warm, for the guard
    )


def _odd_requests(api: Service, number: int) -> None:
    api.get(f"/odd/{number}")
    api.get(f"/models/none-{number}")
    api.get(f"/static_content/{number}")
    api.client.request(("PROPFIND", "MKCOL", "LOCK")[number % 3], "/predict")
    api.client.request("POST", f"/models/none-{number}/target")
    api.predict(model=f"none-{number}")
    api.predict(model="m", version=f"v9{number}")
    api.predict(f"no picture {number}".encode())


def _series(api: Service) -> set[tuple[str, tuple[tuple[str, str], ...]]]:
    families = text_string_to_metric_families(api.get("/metrics").text)
    return {
        (sample.name, tuple(sorted(pair for pair in sample.labels.items() if pair[0] != "worker")))
        for each in families
        for sample in each.samples
    }
