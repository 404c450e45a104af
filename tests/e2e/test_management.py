"""Load, unload, warm-up and health of the real service: two workers, requests that never pause, a prefix."""

from __future__ import annotations

import socket
import time
from typing import Any

import grpc
import httpx
import pytest

from api.protos import modelmora_pb2 as mm
from api.protos import predictor_pb2 as pb
from api.protos.modelmora_pb2_grpc import ModelInferenceStub
from api.protos.predictor_pb2_grpc import PredictorStub
from tests.api.grpc.oip_client import Client, pixels
from tests.api.open_inference.asking import infer
from tests.api.open_inference.asking import pixels as v2_pixels
from tests.e2e.harness import Service
from tests.e2e.load import Load, Readiness
from tests.e2e.many import all_listen
from tests.e2e.pictures import picture
from tests.e2e.reporting import Start
from tests.e2e.sizes import LIMIT, SIZES, SOON
from tests.e2e.stores import Store
from tests.e2e.waiting import until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(LIMIT)]

_DOCUMENTED = {(409, "version_not_loaded"), (503, "model_not_ready")}
TENSORS = {"task": "tensors", "family": "generic", "labels": [], "input": None}
EMBEDDER = {"task": "image-embedding", "family": "embedder", "labels": []}


def _two(make_service: Start, store: Store, **settings: str) -> Service:
    service = make_service(store.home, WORKERS="2", **settings).ready()
    all_listen(service, 2)
    return service


def _fresh(service: Service, method: str, path: str, **options: Any) -> httpx.Response:
    """Over a connection of its own, so that either worker may answer."""
    with httpx.Client(base_url=service.url, timeout=SOON, trust_env=False) as client:
        return client.request(method, path, **options)


def test_loads_and_unloads_under_load_refuse_as_documented_and_fail_nothing_else(
    make_service: Start, store: Store
) -> None:
    store.add("v1", 1)
    store.add("v1", 1, "other")
    service = _two(make_service, store, OKAWARI_SERVE="m,other")
    rounds = SIZES.worker_swaps
    gone: list[float] = []
    back: list[float] = []
    with Load(service) as load, Load(service, kept=1, fresh=1, model="other") as other:
        for number in range(1, rounds + 1):
            load.reach(SIZES.requests * number // (2 * rounds))
            answer = _fresh(service, "DELETE", "/models/m")
            assert (answer.status_code, answer.json()["serving"]) == (200, None), answer.text
            gone.append(time.monotonic())
            _some_more(load)
            back.append(time.monotonic())
            answer = _fresh(service, "POST", "/models/m/load")
            assert (answer.status_code, answer.json()["serving"]) == (200, "v1"), answer.text
            back.append(time.monotonic())
            _some_more(load)
    refusals = {(shot.status, _code(shot.why)) for shot in load.failures}
    print(f"{len(load.shots)} requests, {len(load.failures)} refused in {rounds} rounds: {refusals}")
    assert refusals <= _DOCUMENTED
    assert (409, "version_not_loaded") in refusals
    assert (load.contradictions, other.failures, other.contradictions) == ([], [], [])
    for unloaded, asked, loaded in zip(gone, back[::2], back[1::2], strict=True):
        between = [shot for shot in load.shots if shot.begun > unloaded and shot.ended < asked]
        assert 200 not in {shot.status for shot in between}, "nobody is answered after an unload is confirmed"
        first = min((shot for shot in load.shots if shot.begun > loaded), key=lambda shot: shot.begun)
        assert first.status == 200, "once a load is confirmed, either worker answers"


def _some_more(load: Load) -> None:
    load.reach(len(load.shots) + 10)


def _code(text: str) -> str:
    return (
        "model_not_ready"
        if "model_not_ready" in text
        else "version_not_loaded"
        if "version_not_loaded" in text
        else text
    )


def test_an_unloaded_model_is_refused_on_every_wire_by_every_worker_until_it_is_loaded(
    make_service: Start, store: Store
) -> None:
    store.add("v1", 1)
    store.add("v1", 5, "embed", config=EMBEDDER)
    service = _two(make_service, store)
    until(lambda: service.model("embed")["serving"] == "v1", "both serve")
    for name in ("m", "embed"):
        assert _fresh(service, "DELETE", f"/models/{name}").status_code == 200
    # A worker that has not read the desired state since says for a moment that the model is not ready.
    until(lambda: _answers(service, "embed") == {409}, "every worker knows")
    for _ in range(8):
        _check_refused(service)
    told = service.model("m")
    assert (told["serving"], told["loaded"]) == (None, False)
    assert "unloaded" in told["reason"]
    assert (told["type"], told["provider"]) == ("classification", "ClassifierProvider")
    for name in ("m", "embed"):
        assert _fresh(service, "POST", f"/models/{name}/load").status_code == 200
    for _ in range(8):
        assert _fresh(service, "POST", "/predict?model=m", **_jpeg()).status_code == 200
    assert service.model("embed")["type"] == "embedding"


def _jpeg() -> dict[str, Any]:
    return {"content": picture(), "headers": {"content-type": "image/jpeg"}}


def _check_refused(service: Service) -> None:
    for path in ("/predict", "/predict/annotated"):
        answer = _fresh(service, "POST", f"{path}?model=m", **_jpeg())
        assert (answer.status_code, answer.json()["error"]["code"]) == (409, "version_not_loaded")
    assert _fresh(service, "POST", "/predict?model=m&version=v1", **_jpeg()).status_code == 409
    service.hang_up()
    assert infer(service, v2_pixels()).status_code == 503
    instance = {"instances": [{"b64": "AAAA"}]}
    assert _fresh(service, "POST", "/v1/models/m:predict", json=instance).status_code == 503
    client = Client(service.grpc_address)
    with client.channel as channel:
        assert "not loaded" in client.refused(grpc.StatusCode.UNAVAILABLE, pixels())
        wanted = pb.PredictRequest(request_id="r", model="m", image=picture())
        _unavailable(lambda: PredictorStub(channel).Predict(wanted, timeout=SOON))
        embedding = mm.EmbeddingRequest(request_id="r", model_name="embed", image_data=picture())
        _unavailable(lambda: ModelInferenceStub(channel).GenerateEmbedding(embedding, timeout=SOON))


def _unavailable(call: Any) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        call()
    error: Any = caught.value
    assert error.code() is grpc.StatusCode.UNAVAILABLE, error


def test_warm_up_health_and_prefix_over_two_workers(make_service: Start, store: Store) -> None:
    store.add("v1", 1)
    proxies = {"OKAWARI_ROOT_PATH": "/modemora", "OKAWARI_TRUSTED_PROXIES": "127.0.0.1"}
    service = _two(make_service, store, **proxies)
    for prefix in ("", "/modemora"):
        for _ in range(4):
            report = _fresh(service, "POST", f"{prefix}/models/m/warmup?samples=5").json()
            assert (report["model"], report["version"], report["samples"]) == ("m", "v1", 5)
            assert 0 < max(report["latencies_ms"]) <= report["warmup_time_ms"]
        _check_health(_fresh(service, "GET", f"{prefix}/health"), "healthy")
        assert _fresh(service, "POST", f"{prefix}/predict", **_jpeg()).status_code == 200
        assert _fresh(service, "GET", f"{prefix}/v2/models/m/ready").status_code == 200
        assert _fresh(service, "GET", f"{prefix}/readyz").status_code == 200
    _check_documents(service)
    assert service.figure("http_requests_total", endpoint="/models/{name}/warmup", status="200") == 8
    assert _fresh(service, "DELETE", "/models/m").status_code == 200
    until(lambda: [_loaded(service) for _ in range(8)] == [[]] * 8, "it has left both workers")
    for _ in range(4):
        _check_health(_fresh(service, "GET", "/health"), "unhealthy")
    assert _fresh(service, "POST", "/models/m/load").status_code == 200
    _check_health(_fresh(service, "GET", "/health"), "healthy")


def _loaded(service: Service) -> list[str]:
    found: list[str] = _fresh(service, "GET", "/health").json()["models_loaded"]
    return found


def _check_health(answer: httpx.Response, status: str) -> None:
    told = answer.json()
    assert (answer.status_code, told["status"]) == (503 if status == "unhealthy" else 200, status)
    assert told["models_loaded"] == ([] if status == "unhealthy" else ["m"])
    assert (told["models"]["count"], told["models"]["loaded"]) == (1, len(told["models_loaded"]))
    assert told["dependencies"] == {"registry": {"status": "healthy", "reason": None}}
    assert told["memory_usage_mb"] > 10
    assert 0 < told["resources"]["disk_percent"] <= 100
    assert 0 <= told["uptime_seconds"] < LIMIT


def _check_documents(service: Service) -> None:
    # uvicorn takes the client from X-Forwarded-For; whom to trust is decided by the connection.
    forwarded = {"x-forwarded-prefix": "/apps", "x-forwarded-for": "203.0.113.9"}
    document = _fresh(service, "GET", "/docs.json", headers=forwarded).json()
    assert document["servers"] == [{"url": "/apps"}]
    assert _fresh(service, "GET", "/modemora/docs.json").json()["servers"] == [{"url": "/modemora"}]
    assert "swagger" in _fresh(service, "GET", "/modemora/").text.lower()
    bare = _fresh(service, "GET", "/modemora")
    assert (bare.status_code, bare.headers["location"]) == (308, "/modemora/")
    for page in ("/modemora/redoc", "/modemora/static_content/swagger-ui.css", "/apps/redoc"):
        assert _fresh(service, "GET", page, headers=forwarded).status_code == 200


def test_a_database_that_says_nothing_degrades_and_is_told_within_a_second(
    make_service: Start, store: Store
) -> None:
    store.add("v1", 1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        database = f"postgresql://user:secret@127.0.0.1:{port}/db"
        service = make_service(store.home, OKAWARI_DATABASE=database).ready()
        service.get("/livez")
        seconds: list[float] = []
        for _ in range(5):
            begun = time.monotonic()
            answer = service.get("/health")
            seconds.append(time.monotonic() - begun)
            told = answer.json()
            assert (answer.status_code, told["status"]) == (200, "degraded")
            assert told["dependencies"]["database"]["status"] == "unhealthy"
            assert told["dependencies"]["registry"]["status"] == "healthy"
            assert "secret" not in answer.text
        assert sorted(seconds)[2] < 1.0, "the machine may be busy now and then"
        assert service.version() == "v1"


def test_models_that_leave_memory_say_why_and_a_warm_up_brings_them_back(
    make_service: Start, store: Store
) -> None:
    names = ("a", "b", "c", "d")
    for number, name in enumerate(names):
        store.add("v1", number, name, bytes_of_ballast=80_000_000)
    service = _two(make_service, store, OKAWARI_MEMORY_BUDGET="800MB", OKAWARI_DEFAULT_MODEL="a")
    for name in names:
        report = _fresh(service, "POST", f"/models/{name}/warmup?samples=2").json()
        assert (report["model"], report["samples"]) == (name, 2), report
    models = {each["name"]: each for each in service.get("/models?format=list").json()}
    away = [each for each in models.values() if not each["loaded"]]
    assert away, "four models do not fit"
    for each in away:
        assert (each["serving"], each["memory_mb"], each["evictable"]) == (None, 0.0, False)
        assert each["residency_reason"].startswith("evicted to make room for ")
        assert each["last_used"] is not None
        assert each["type"] == "classification", "what is not in memory is described, too"
    assert models["d"]["loaded"]
    assert models["d"]["memory_mb"] >= 80
    told = _fresh(service, "GET", "/health").json()
    assert (told["status"], told["models"]["memory_max_mb"]) == ("healthy", 800.0)
    assert 0 < told["models"]["memory_used_mb"] < 800
    gone = _fresh(service, "DELETE", f"/models/{away[0]['name']}").json()
    assert "unloaded" in gone["reason"]
    until(lambda: _answers(service, away[0]["name"]) == {409}, "no request brings it back")


def _answers(service: Service, name: str) -> set[int]:
    return {_fresh(service, "POST", f"/predict?model={name}", **_jpeg()).status_code for _ in range(8)}


def test_a_model_that_takes_tensors_alone_is_warmed_up_too(make_service: Start, store: Store) -> None:
    store.add("v1", 1, "tensors", config=TENSORS)
    service = make_service(store.home).ready()
    report = service.client.post("/models/tensors/warmup?samples=3").json()
    assert (report["model"], report["samples"], len(report["latencies_ms"])) == ("tensors", 3, 3)
    assert service.model("tensors")["type"] == "tensors"
    assert service.figure("inference_requests_total") == 0, "a warm-up is not counted among inferences"


def test_readiness_does_not_flap_while_models_are_warmed_up(make_service: Start, store: Store) -> None:
    store.add("v1", 1)
    service = make_service(store.home).ready()
    with Readiness(service) as readiness, Load(service, kept=2, fresh=0) as load:
        for _ in range(5):
            assert service.client.post("/models/m/warmup?samples=200").status_code == 200
    assert (readiness.flaps, load.failures) == ([], [])
    until(lambda: service.figure("model_leases") == 0, "every lease is given back")
