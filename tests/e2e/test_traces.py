"""Traces as a collector receives them: one request from its client to the database, imports and swaps."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

import pytest

from tests.e2e.harness import BIN, Service, environment
from tests.e2e.pictures import picture
from tests.e2e.reporting import services
from tests.e2e.rpc_load import channel, infer, pictures
from tests.e2e.sizes import LIMIT
from tests.e2e.stores import Store
from tests.e2e.waiting import until
from tests.support.otlp_receiver import OtlpReceiver, otlp_receiver

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(LIMIT)]

CALLER = "b7ad6b7169203331"


def trace(number: int) -> tuple[str, dict[str, str]]:
    """A trace of a client, and its header."""
    name = f"{number:032x}"
    return name, {"traceparent": f"00-{name}-{CALLER}-01"}


@pytest.fixture(scope="module")
def receiver() -> Iterator[OtlpReceiver]:
    """A collector."""
    with otlp_receiver() as made:
        yield made


@pytest.fixture(scope="module")
def traced_store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A store with one version."""
    folder = tmp_path_factory.mktemp("traces")
    store = Store(folder / "home", folder)
    store.add("v1", 1)
    return store


@pytest.fixture(scope="module")
def service(traced_store: Store, receiver: OtlpReceiver) -> Iterator[Service]:
    """A service that sends its traces there."""
    settings = {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url, "OTEL_BSP_SCHEDULE_DELAY": "200"}
    with contextmanager(services)() as make:
        yield make(traced_store.home, DEVICE_001_TOKEN="token of device 1", **settings).ready()


def test_a_picture_of_a_device_is_followed_from_its_client_to_the_database(
    service: Service, receiver: OtlpReceiver
) -> None:
    name, headers = trace(1)
    answer = service.client.post(
        "/api/v1/detect",
        files={"image": ("a.jpg", picture(size=(256, 256)))},
        data={"device_id": "device-001", "timestamp": "2026-11-30T12:00:00Z"},
        headers={"X-API-Token": "token of device 1", **headers},
    )
    assert answer.status_code == 200, answer.text
    said = answer.json()
    chain = ["http.request", "service.detect", "model.inference", "storage.save"]
    spans = receiver.of(name, *chain)
    found = {span.name: span for span in spans}
    request, detect, inference, save = (found[each] for each in chain)
    assert [request.parent, detect.parent] == [CALLER, request.id]
    assert [inference.parent, save.parent] == [detect.id, detect.id]
    assert request.attributes["http.route"] == "/api/v1/detect"
    assert request.attributes["http.response.status_code"] == 200
    version = {
        "model_name": said["model"],
        "model_version": said["model_version"],
        "model_digest": said["model_digest"],
    }
    for span in (detect, inference, save):
        assert version.items() <= span.attributes.items(), span.name
    for span in (detect, save):
        assert span.attributes["device_id"] == "device-001"
        assert UUID(span.attributes["image_id"]) == UUID(said["image_id"])
    assert {span.attributes["status"] for span in (request, detect, inference, save)} == {"ok"}
    inserts = [span for span in spans if span.parent == save.id and span.name.startswith("INSERT")]
    assert inserts, [span.name for span in spans]
    assert request.milliseconds > detect.milliseconds > max(inference.milliseconds, save.milliseconds) > 0
    until(lambda: f'"trace_id":"{name}"' in "".join(service.lines()), "its log line names the trace")


def test_a_refusal_names_its_code(service: Service, receiver: OtlpReceiver) -> None:
    name, headers = trace(2)
    answer = service.client.post("/predict?model=none", content=picture(), headers=headers)
    assert answer.status_code == 404
    spans = receiver.of(name, "http.request", "model.inference")
    inference = next(span for span in spans if span.name == "model.inference")
    assert inference.failed
    assert inference.attributes["status"] == answer.json()["error"]["code"]
    assert "model_version" not in inference.attributes


def test_a_call_over_grpc_goes_on_with_its_callers_trace(service: Service, receiver: OtlpReceiver) -> None:
    name, headers = trace(3)
    with channel(service) as open_channel:
        infer(open_channel, pictures(), metadata=tuple(headers.items()))
    found = {span.name: span for span in receiver.of(name, "grpc.request", "model.inference")}
    call = found["grpc.request"]
    assert (call.parent, call.attributes["rpc.method"]) == (CALLER, "ModelInfer")
    assert found["model.inference"].parent == call.id


def test_an_import_and_its_swap_are_traced(
    service: Service, traced_store: Store, receiver: OtlpReceiver
) -> None:
    folder = traced_store.source("v2", 2)
    subprocess.run(
        [BIN / "okawari", "import", folder],
        env=environment(traced_store.home, traced_store.home) | {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url},
        check=True,
        capture_output=True,
        timeout=100,
    )
    service.serves("v2")
    imported = receiver.named("model.import", path=str(folder))
    assert imported.service == "okawari-import"
    assert imported.milliseconds > 0
    swap = receiver.named("model.swap", model_version="v2")
    load = next(span for span in receiver.of(swap.trace, "model.load") if span.name == "model.load")
    assert swap.parent == load.id
    assert swap.attributes["version_before"] == "v1"
    assert load.attributes["model_digest"] == swap.attributes["model_digest"]


def test_questions_of_those_who_watch_leave_no_trace(service: Service, receiver: OtlpReceiver) -> None:
    paths = ["/readyz", "/metrics", "/health", "/v2/health/ready"]
    for path in paths:
        service.get(path, headers=trace(4)[1])
    name, headers = trace(5)
    service.get("/models", headers=headers)
    receiver.of(name, "http.request")
    assert not [span for span in receiver.spans if span.trace == trace(4)[0]]
