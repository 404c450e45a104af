"""Promotion and rollback through the running service: what follows production swaps, and nobody notices."""

from __future__ import annotations

import json
import math
import shutil
import subprocess
import time
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.e2e.harness import BIN, Service, environment
from tests.e2e.load import Load, Readiness
from tests.e2e.reporting import Start
from tests.e2e.sizes import LIMIT, SIZES
from tests.e2e.stores import Store
from tests.e2e.waiting import until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(LIMIT)]

_API = "/api/v1/registry"


def _call(service: Service, method: str, path: str, **body: Any) -> httpx.Response:
    return httpx.request(method, f"{service.url}{_API}{path}", json=body or None, timeout=60)


def _activate(service: Service, version: str, **body: Any) -> httpx.Response:
    return _call(service, "PUT", f"/models/m/{version}/activate", **body)


def _production(service: Service) -> list[Any]:
    found = _call(service, "GET", "/models?status=production").json()["models"]
    return [entry["version"] for entry in found]


def _file(service: Service) -> Path:
    return service.home / "models" / "registry.json"


def _registered(service: Service, *versions: int) -> None:
    def there() -> bool:
        entries = _call(service, "GET", "/models?model_name=m").json()["models"]
        return [entry["version"] for entry in entries] == list(versions)

    until(there, f"{versions} are registered")


def test_what_appears_in_the_store_is_registered_promoted_and_rolled_back(
    make_service: Start, store: Store
) -> None:
    store.add("v1", 1)
    store.add("v2", 2)
    service = make_service(store.home).ready()
    _registered(service, 1, 2)
    assert _call(service, "GET", "/models/m/2").json()["status"] == "staging"

    answer = _activate(service, "1", reason="known good")
    assert (answer.status_code, answer.json()["status"], answer.json()["serving"]) == (200, "production", 1)
    assert answer.json()["target"] == service.model()["target"] == "@production"
    assert service.version() == "v1"

    assert _activate(service, "v2", expected_current=3).status_code == 409
    assert service.version() == "v1"
    assert _activate(service, "v2", expected_current=1).json()["serving"] == 2
    assert (service.version(), _production(service)) == ("v2", [2])

    back = _call(service, "POST", "/models/m/rollback", reason="misses cars")
    assert (back.status_code, back.json()["version"], service.version()) == (200, 1, "v1")
    assert _call(service, "POST", "/models/m/rollback").status_code == 409

    history = _call(service, "GET", "/models/m/history").json()["history"]
    assert [(one["action"], one["after"], one["reason"]) for one in history[:3]] == [
        ("rollback", 1, "misses cars"),
        ("activate", 2, None),
        ("activate", 1, "known good"),
    ]
    store.add("v3", 3)
    _registered(service, 1, 2, 3)
    assert service.version() == "v1", "what is imported does not answer before it is promoted"


def test_a_version_that_cannot_be_loaded_is_not_production(make_service: Start, store: Store) -> None:
    store.add("v1", 1)
    service = make_service(store.home).ready()
    assert _activate(service, "v1").status_code == 200
    store.add("v2", 2, best=math.nan)  # its check before it answers fails
    _registered(service, 1, 2)
    answer = _activate(service, "v2")
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "conflict")
    assert (service.version(), _production(service)) == ("v1", [1])
    assert _activate(service, "v9").status_code == 404


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "/models", {"model_name": "m", "version": 1, "path": "models/m/v1"}, 409),
        ("POST", "/models", {"model_name": "m", "version": 7, "path": "models/m/v7"}, 404),
        ("POST", "/models", {"model_name": "m", "version": 7, "path": "../outside"}, 422),
        ("POST", "/models", {"model_name": "m", "version": 7}, 422),
        ("POST", "/models", {"model_name": "m", "version": [], "path": "x"}, 422),
        ("POST", "/models", {"model_name": "M!", "version": 1, "path": "models/M!/v1"}, 422),
        ("GET", "/models?status=best", None, 422),
        ("GET", "/models/none/1", None, 404),
        ("PUT", "/models/m/1/archive", {"expected_current": "v4"}, 409),
        ("PUT", "/models/m/aliases/production", {"version": 1}, 422),
        ("PUT", "/models/m/aliases/canary", {"version": 9}, 404),
        ("DELETE", "/models/m/aliases/canary", None, 404),
        ("PATCH", "/models/m/1", {"metadata": {"metrics": {"accuracy": "high"}}}, 422),
        ("GET", "/models/m/history?at=yesterday", None, 422),
        ("POST", "/models/m/rollback", {"reason": "x" * 501}, 422),
    ],
)
def test_what_cannot_be_meant_is_refused_with_its_status(
    shared: Service, method: str, path: str, body: dict[str, Any] | None, status: int
) -> None:
    answer = httpx.request(method, f"{shared.url}{_API}{path}", json=body, timeout=60)
    assert answer.status_code == status, answer.text
    assert answer.json()["error"]["message"]


def test_an_alias_a_description_and_who_served(shared: Service) -> None:
    assert _call(shared, "PUT", "/models/m/aliases/canary", version=1).json()["aliases"] == ["canary"]
    assert shared.target("@canary").status_code == 200
    assert _call(shared, "GET", "/models?alias=canary").json()["models"][0]["version"] == 1
    described = _call(
        shared, "PATCH", "/models/m/1", metadata={"metrics": {"accuracy": 0.9, "latency_ms": 7}}
    )
    assert described.json()["metadata"]["metrics"] == {"accuracy": 0.9, "latency_ms": 7}

    def served(at: str) -> Any:
        return _call(shared, "GET", f"/models/m/history?at={at}").json()["served"]

    until(lambda: served("2100-01-01T00:00:00Z") != [], "the switch is recorded")
    (now,) = served("2100-01-01T00:00:00Z")
    assert (now["version"], now["digest"]) == (1, shared.predict(model="m").json()["model_digest"])
    assert served("2000-01-01T00:00:00Z") == []


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A service with one version, which is not changed in ways that another test sees."""
    from tests.e2e.reporting import services

    folder = tmp_path_factory.mktemp("registry")
    store = Store(folder / "home", folder)
    store.add("v1", 1)
    making = services()
    service = next(making)(store.home).ready()
    _registered(service, 1)
    yield service
    making.close()


def test_promotions_and_rollbacks_under_load_fail_no_request(make_service: Start, store: Store) -> None:
    for number in (1, 2):
        store.add(f"v{number}", number)
    service = make_service(store.home, WORKERS="2").ready()
    assert _activate(service, "v1").status_code == 200
    promised: list[tuple[float, float, str]] = []  # asked, answered, version
    with Readiness(service) as readiness, Load(service) as load:
        for turn in range(SIZES.promotions):
            asked = time.monotonic()
            if turn % 2:
                answer, version = _call(service, "POST", "/models/m/rollback"), "v1"
            else:
                answer, version = _activate(service, "v2"), "v2"
            assert answer.status_code == 200, answer.text
            promised.append((asked, time.monotonic(), version))
            load.reach(len(load.shots) + 20)
    print(f"{len(load.shots)} requests over {len(promised)} changes of production")
    assert load.failures == []
    assert load.contradictions == []
    assert readiness.flaps == []
    ends = [*(asked for asked, _, _ in promised[1:]), math.inf]
    for (_, answered, version), end in zip(promised, ends, strict=True):
        claimed = {shot.claimed for shot in load.shots if answered < shot.begun and shot.ended < end}
        assert claimed == {version}


def test_a_hand_edit_swaps_and_a_broken_one_is_refused_with_its_line(
    make_service: Start, store: Store
) -> None:
    store.add("v1", 1)
    store.add("v2", 2)
    service = make_service(store.home).ready()
    assert _activate(service, "v1").status_code == 200
    _registered(service, 1, 2)
    document = json.loads(_file(service).read_text())
    for entry in document["models"]:
        entry["status"] = "production" if entry["version"] == 2 else "staging"
    _file(service).write_text(json.dumps(document, indent=1))
    until(lambda: service.version() == "v2", "the edited file is followed")
    assert _call(service, "GET", "/models/m/history").json()["history"][0]["action"] == "file_edit"

    whole = _file(service).read_text()
    _file(service).write_text(whole.replace('"production"', '"best"'))
    until(lambda: any("registry.json" in line and "line" in line for line in service.lines()), "it is told")
    answer = _activate(service, "v1")
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "registry_unavailable")
    assert service.version() == "v2"
    _file(service).write_text(whole)
    until(lambda: _activate(service, "v1").status_code == 200, "the mended file can be changed")


def test_a_slot_that_follows_production_waits_for_the_first(make_service: Start, store: Store) -> None:
    store.add("v1", 1)
    service = make_service(store.home, OKAWARI_SERVE="m:@production", OKAWARI_START_TIMEOUT="0.1").start()
    answer = httpx.get(f"{service.url}/readyz", timeout=60)
    assert answer.status_code == 503
    assert "No production model found in registry for m" in answer.text
    assert any("No production model found in registry for m" in line for line in service.lines())
    assert _activate(service, "v1").status_code == 200
    assert httpx.get(f"{service.url}/readyz", timeout=60).status_code == 200
    assert service.version() == "v1"


def _cli(service: Service, *words: str, **settings: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [BIN / "okawari", *words],
        env=environment(service.store, service.home, **settings),
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )


def test_the_command_line_promotes_waits_and_rolls_back(make_service: Start, store: Store) -> None:
    store.add("v1", 1)
    service = make_service(store.home, WORKERS="2").ready()
    assert _cli(service, "promote", "m", "v1", "--yes").returncode == 0
    store.add("v2", 2)
    asked = _cli(service, "promote", "m", "v2")
    assert (asked.returncode, "--yes" in asked.stderr) == (1, True)
    done = _cli(service, "promote", "m", "2", "--yes", "--reason", "better at night")
    assert (done.returncode, service.version()) == (0, "v2"), done.stderr
    assert _cli(service, "rollback", "m", "--yes").returncode == 0
    assert service.version() == "v1"
    history = json.loads(_cli(service, "history", "m", "--json").stdout)["history"]
    assert [one["action"] for one in history[:3]] == ["rollback", "activate", "register"]
    assert history[1]["reason"] == "better at night"
    who_served = partial(_cli, service, "who-served", "m", "--at", "2100-01-01T00:00:00Z")
    until(lambda: who_served().stdout.startswith("m:v1 "), "the registry knows who serves")
    assert _cli(service, "follow", "m", "@none").returncode == 1

    until(lambda: len(_decisions(service)) == 3, "the changes are in the audit log")
    assert _decisions(service) == [
        ("promotion", None, "v1", None),
        ("promotion", "v1", "v2", "better at night"),
        ("rollback", "v2", "v1", None),
    ]
    assert _cli(service, "audit", "--verify").returncode == 0


def _decisions(service: Service) -> list[Any]:
    records = httpx.get(f"{service.url}/api/v1/audit?model=m&limit=1000", timeout=60).json()["records"]
    return [
        (one["action"], one["before"], one["after"], one["reason"])
        for one in records
        if one["action"] in ("promotion", "rollback")
    ]


def _before_the_store(folder: Path, store: Store) -> Path:
    """A folder `models/` with a registry file, a production version 1 and a version 2 without config."""
    models = folder / "models"
    for number in (1, 2):
        source = store.source(f"v{number}", number, "yolov8n-coco")
        target = models / "yolov8n-coco" / f"v{number}"
        target.mkdir(parents=True)
        shutil.copy(source / "weights.onnx", target / "model.onnx")
        if number == 1:
            shutil.copy(source / "config.json", target)
    entry = {
        "model_name": "yolov8n-coco",
        "version": 1,
        "path": "models/yolov8n-coco/v1/model.onnx",
        "status": "production",
        "creation_timestamp": "2025-01-01T00:00:00Z",
        "metadata": {"description": "COCO", "metrics": {"accuracy": 0.37, "latency_ms": 12}},
    }
    second = entry | {"version": 2, "path": "models/yolov8n-coco/v2/model.onnx", "status": "staging"}
    (models / "registry.json").write_text(json.dumps({"models": [entry, second]}))
    return models / "registry.json"


@pytest.mark.parametrize("in_place", [False, True], ids=["elsewhere", "as the registry"])
def test_a_registry_file_from_before_the_store_is_adopted(
    make_service: Start, store: Store, tmp_path: Path, in_place: bool
) -> None:
    file = _before_the_store(tmp_path / "mounted", store)
    settings = {"OKAWARI_REGISTRY": str(file)} if in_place else {}
    service = make_service(store.home, **settings)
    service.home.mkdir(parents=True, exist_ok=True)
    for turn in range(2):
        adopted = _cli(service, "registry", "adopt", str(file), **settings)
        assert adopted.returncode == 1
        assert ("yolov8n-coco:v1: imported" in adopted.stdout) == (turn == 0), adopted.stdout
        assert "yolov8n-coco:v2: not adopted: there is no config.json" in adopted.stderr
    service.ready()
    assert service.predict(model="yolov8n-coco").json()["model_version"] == "v1"
    (entry,) = _call(service, "GET", "/models?status=production").json()["models"]
    assert (entry["model_name"], entry["version"]) == ("yolov8n-coco", 1)
    assert entry["metadata"]["metrics"] == {"accuracy": 0.37, "latency_ms": 12}
    store.add("v3", 3, "yolov8n-coco")
    until(lambda: "v3" in service.states("yolov8n-coco"), "the new version is seen")
    assert service.predict(model="yolov8n-coco").json()["model_version"] == "v1"
