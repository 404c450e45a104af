"""A service with ModelRegistry.yaml and ModelMora's settings: its three models, reloads, mistakes, .env."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from api.protos import modelmora_pb2 as mm
from api.protos.modelmora_pb2_grpc import ModelInferenceStub
from models_import.candidates import Candidate, Wanted
from models_import.importer import Importer
from tests.e2e.harness import BIN, ROOT, Service, free_port
from tests.e2e.reporting import Start
from tests.e2e.rpc_load import channel
from tests.e2e.sizes import LIMIT, SOON
from tests.e2e.stores import Store, untried
from tests.e2e.waiting import until
from tests.runners.references import Reference
from tests.runners.test_providers import CLIP_TOWER, DINOV2, SAM, Model

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(2 * LIMIT)]

LIST = """\
models:
  - name: clip
    type: embedding
    provider: ClipProvider
    config: {}
    resources: {memory_mb: 600, gpu_required: false, cpu_threads: 1}
    warmup: {enabled: true, samples: 3}
    default: true
  - name: dinov2
    type: embedding
    provider: DINOv2Provider
    resources: {memory_mb: 400, cpu_threads: 1}
    warmup: {enabled: true, samples: 1}
  - name: sam
    type: segmentation
    provider: SAMProvider
    resources: {memory_mb: 1200}
    warmup: {enabled: false}
"""
MODELS = {"clip": CLIP_TOWER, "dinov2": DINOV2, "sam": SAM}


def _import(home: Path, folder: Path, name: str, model: Model) -> None:
    place = folder / name / "v1"
    place.mkdir(parents=True)
    model.put(place)
    (place / "config.json").write_text(json.dumps(model.config))
    Importer(home, probe=untried).run(Candidate(place, Wanted(), named=True))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("modelmora")
    for name, model in MODELS.items():
        _import(folder / "home", folder / "scratch", name, model)
    return folder / "home"


def test_modelmoras_three_models_are_loaded_and_answer_under_its_settings(
    home: Path, make_service: Start
) -> None:
    file = home.parent / "ModelRegistry.yaml"
    file.write_text(LIST)
    service = make_service(
        home,
        OKAWARI_DEFAULT_MODEL="clip",
        MODEMORA_MODEL_REGISTRY_PATH=str(file),
        MODEMORA_PROMETHEUS_PORT=str(free_port()),
        MODEMORA_MAX_MODEL_MEMORY_MB="8192",
        MODEMORA_GPU_ENABLED="false",
        MODEMORA_LOG_LEVEL="info",
    ).ready()
    for name in MODELS:
        service.serves("v1", name)
    listed = {each["name"]: each for each in service.get("/models").json()["models"]}
    assert listed.keys() == MODELS.keys()
    assert not any(each["missing"] or each["reason"] for each in listed.values())
    assert [each["versions"][0]["reason"] for each in listed.values()] == [None] * 3
    for name in ("clip", "dinov2"):
        assert _cosine(_vector(service, name), MODELS[name]) >= 0.99998
    assert _cosine(_vector_over_grpc(service), CLIP_TOWER) >= 0.99998
    assert _cosine(np.array(_predict(service, None, CLIP_TOWER)["embedding"]), CLIP_TOWER) >= 0.99998
    (found,) = _predict(service, "sam", SAM, points="[[0.5, 0.5, 1]]")["detections"]
    assert sum(found["mask"]["size"]) > 0
    _check_metrics(service)


def _predict(service: Service, name: str | None, model: Model, **fields: str) -> dict[str, Any]:
    image = model.picture().encoded
    assert image is not None
    data = fields | ({"model": name} if name else {})
    answer = service.client.post("/predict", files={"image": image}, data=data)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def _vector(service: Service, name: str) -> Any:
    return np.array(_predict(service, name, MODELS[name])["embedding"])


def _vector_over_grpc(service: Service) -> Any:
    with channel(service) as one:
        stub: Any = ModelInferenceStub(one)
        asked = mm.EmbeddingRequest(
            request_id="r", model_name="clip", image_data=CLIP_TOWER.picture().encoded
        )
        return np.array(stub.GenerateEmbedding(asked, timeout=LIMIT).vector)


def _cosine(vector: Any, model: Model) -> float:
    arrays = np.load(Reference.of(str(model.folder)).folder / "expected.npz")
    expected = np.array(model.reference().expected.get("embedding") or arrays["image_embeds_0"])
    return float(vector @ expected / (np.linalg.norm(vector) * np.linalg.norm(expected)))


def _check_metrics(service: Service) -> None:
    assert service.figure("modemora_models_loaded") == 3
    assert service.figure("modemora_inference_requests_total", model_name="clip", status="success") == 3
    assert service.figure("modemora_inference_duration_seconds_count", model_name="sam") == 1
    port = service._settings["MODEMORA_PROMETHEUS_PORT"]
    alone = httpx.get(f"http://127.0.0.1:{port}/metrics", trust_env=False, timeout=60).text
    assert "modemora_models_loaded 3.0" in alone
    assert 'modemora_service_info{gpu_enabled="false"' in alone


# --- changes while it runs -----------------------------------------------------------------------


def test_a_changed_list_is_read_while_it_runs_and_a_broken_one_is_told(
    store: Store, make_service: Start, tmp_path: Path
) -> None:
    store.add("v1", 1, "m")
    file = tmp_path / "ModelRegistry.yaml"
    file.write_text("models: [{name: m, provider: SAMProvider}, {name: absent}]")
    service = make_service(store.home, OKAWARI_MODEL_REGISTRY=str(file)).ready()
    assert service.version("m") == "v1", "the manifest wins"
    assert service.states("m")["v1"]["reason"].startswith(
        "declared with SAMProvider, but its family is classifier"
    )
    absent = service.model("absent")
    assert (absent["missing"], absent["versions"]) == (True, [])
    assert _cli(store.home, OKAWARI_MODEL_REGISTRY=str(file)).splitlines()[1].split()[:3] == [
        "absent",
        "-",
        "missing",
    ]
    assert any("m:v1 is declared with SAMProvider" in line for line in service.lines())

    file.write_text("models:\n- name: other\n  typ: x\n")
    until(lambda: "degraded" in service.get("/readyz").json(), "the mistake is told")
    assert (
        service.get("/readyz")
        .json()["degraded"]
        .startswith("ModelRegistry.yaml: line 3: models[0].typ: unknown key")
    )
    assert service.model("absent")["missing"], "the last good list holds"
    assert service.version("m") == "v1"

    killed = min(service.pids())
    os.kill(killed, signal.SIGKILL)
    until(lambda: len(service.pids() - {killed}) == service.count, "another worker takes its place")
    until(lambda: _answers(service.port), "it answers")
    until(lambda: service.get("/readyz").status_code == 200, "it is ready")
    assert "degraded" in service.get("/readyz").json()
    assert service.model("absent")["missing"], "it has the list that the master read"

    file.write_text("models: [{name: m, provider: ViTProvider}, {name: other}]")
    service.client.post("/api/v1/reload").raise_for_status()
    until(lambda: service.get("/models/other").status_code == 200, "the list is read")
    assert "degraded" not in service.get("/readyz").json()
    assert service.get("/models/absent").status_code == 404
    assert service.states("m")["v1"]["reason"] is None
    store.add("v1", 7, "other")
    service.serves("v1", "other")
    assert not service.model("other")["missing"]


def test_a_version_that_requires_a_gpu_is_refused_here_with_the_reason(
    store: Store, make_service: Start, tmp_path: Path
) -> None:
    store.add("v1", 1, "m")
    store.add("v1", 2, "n")
    file = tmp_path / "ModelRegistry.yaml"
    file.write_text("models: [{name: n, resources: {gpu_required: true}}]")
    service = make_service(store.home, OKAWARI_MODEL_REGISTRY=str(file)).ready()
    until(lambda: service.states("n")["v1"]["state"] == "failed", "n is refused")
    assert service.states("n")["v1"]["reason"].startswith(
        "a GPU is required (gpu_required in the list of models)"
    )
    assert service.version("m") == "v1"


def test_a_broken_list_ends_the_start_with_line_and_field(
    store: Store, make_service: Start, tmp_path: Path
) -> None:
    file = tmp_path / "ModelRegistry.yaml"
    file.write_text("models:\n- name: m\n  provider: ClpProvider\n")
    service = make_service(store.home, OKAWARI_MODEL_REGISTRY=str(file)).launch()
    until(lambda: service.master.poll() is not None, "it ends")
    wanted = "okawari: ModelRegistry.yaml: line 3: models[0].provider: unknown provider; did you mean Clip"
    assert any(wanted in line for line in service.lines())


def _cli(home: Path, **settings: str) -> str:
    environment = _nothing_set() | {"OKAWARI_HOME": str(home), "BENTOML_HOME": str(home)} | settings
    done = subprocess.run(
        [BIN / "okawari", "models"],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=LIMIT,
    )
    return done.stdout


# --- .env ----------------------------------------------------------------------------------------


def _nothing_set() -> dict[str, str]:
    ours = ("OKAWARI_", "MODEMORA_", "BENTOML_", "PROMETHEUS_")
    plain = ("PORT", "WORKERS", "GRPC_PORT")
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(ours) and name not in plain
    }
    return kept | {"BENTOML_DO_NOT_TRACK": "True", "PYTHONPATH": str(ROOT)}


@contextmanager
def _served(folder: Path) -> Iterator[None]:
    """`bentoml serve` with nothing but what lies in a folder."""
    (folder / "entry.py").write_text("from service import Okawari\n")
    with (folder / "log").open("wb") as log:
        master = subprocess.Popen(
            [BIN / "bentoml", "serve", "entry:Okawari", "--host", "127.0.0.1"],
            cwd=folder,
            env=_nothing_set(),
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield
    finally:
        os.killpg(master.pid, signal.SIGTERM)
        master.wait(LIMIT)


def _answers(port: int) -> bool:
    with suppress(httpx.TransportError):
        return httpx.get(f"http://127.0.0.1:{port}/livez", trust_env=False, timeout=SOON).status_code == 200
    return False


def test_service_and_command_line_read_the_same_env_file(tmp_path: Path) -> None:
    port, grpc_port, metrics = free_port(), free_port(), free_port()
    lines = (
        f"MODEMORA_REST_PORT={port}",
        f"MODEMORA_GRPC_PORT={grpc_port}",
        f"MODEMORA_PROMETHEUS_PORT={metrics}",
        "MODEMORA_MODEL_CACHE_DIR=./cache",
        "OKAWARI_ADMIN_TOKEN=geheim",
        "MODEMORA_REST_PROT=geheim",
    )
    (tmp_path / ".env").write_text("\n".join(lines))
    with _served(tmp_path):
        until(lambda: _answers(port), "it listens where .env says")
        assert (
            "modemora_models_loaded"
            in httpx.get(f"http://127.0.0.1:{metrics}/metrics", trust_env=False, timeout=60).text
        )
        done = subprocess.run(
            [BIN / "okawari", "status", "--json"],
            cwd=tmp_path,
            env=_nothing_set(),
            capture_output=True,
            text=True,
            check=True,
            timeout=LIMIT,
        )
    status = json.loads(done.stdout)
    assert (status["up"], status["home"]) == (True, str(tmp_path / "cache"))
    assert status["workers"][0]["address"] == f"127.0.0.1:{port}"
    log = (tmp_path / "log").read_text()
    assert "MODEMORA_REST_PROT: unknown setting, ignored; did you mean MODEMORA_REST_PORT?" in log
    assert "geheim" not in log + done.stdout + done.stderr
