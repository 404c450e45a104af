"""A classifier on a detector's boxes in the running service: every wire names both, swaps lose nothing."""

from __future__ import annotations

import base64
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from api.protos import predictor_pb2 as messages
from api.protos.predictor_pb2_grpc import PredictorStub
from examples import species
from models_import.catalogue import assemble, choose, entries
from runners.drawing.palette import colour_of
from tests.builders import code_of
from tests.data import need_data
from tests.e2e.harness import BIN, ROOT, Service, environment
from tests.e2e.reporting import services
from tests.e2e.rpc_load import channel
from tests.e2e.sizes import LIMIT, SIZES
from tests.e2e.stores import Store

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(LIMIT)]

_PICTURE = (ROOT / "examples/shapes/pictures/shapes-1117.jpg").read_bytes()
_CROPS = {"crop_with": {"model": "shapes"}}
_CLIENTS = 4


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("crops")
    store = Store(folder / "home", folder)
    store.take(ROOT / "models_import/demo/shapes/v1")
    store.take(ROOT / "examples/models/shapes/v2")
    for number in (1, 2):
        store.add(f"v{number}", number, config=_CROPS)
    store.add("v1", 1, name="lost", config={"crop_with": {"model": "nobody"}})
    store.add("v1", 1, name="typo", config={"crop_with": {"model": "shapes", "labels": ["circel"]}})
    with contextmanager(services)() as make:
        yield make(store.home).ready()


def _boxes(body: dict[str, Any]) -> set[tuple[float, ...]]:
    return {tuple(each["bbox"]) for each in body["detections"]}


def test_every_wire_names_both_versions(service: Service) -> None:
    answer = service.predict(_PICTURE, model="m")
    body = answer.json()
    alone = service.predict(_PICTURE, model="shapes").json()
    assert (body["model_version"], body["task"]) == ("v2", "object-detection")
    detector = {"model": "shapes", "model_version": "v2", "model_digest": alone["model_digest"]}
    assert body["detector"] == detector | {"generation": alone["generation"]}
    assert answer.headers["x-detector-version"] == "v2"
    assert "detector" not in alone
    assert body["detections"]
    assert _boxes(body) == _boxes(alone)
    assert {each["label"] for each in body["detections"]} == {"code"}

    image = {
        "name": "image",
        "shape": [1],
        "datatype": "BYTES",
        "data": [base64.b64encode(_PICTURE).decode()],
    }
    v2 = service.client.post("/v2/models/m/infer", json={"inputs": [image]}).json()
    assert (v2["parameters"]["detector"], v2["parameters"]["detector_version"]) == ("shapes", "v2")
    outputs = {each["name"]: each for each in v2["outputs"]}
    assert outputs["boxes"]["shape"] == [1, len(body["detections"]), 4]
    assert service.get("/v2/models/m").json()["properties"]["task"] == "object-detection"

    kserve = service.client.post(
        "/v1/models/m:predict", json={"instances": [{"image": {"b64": image["data"][0]}}]}
    ).json()
    assert kserve["detector_version"] == "v2"

    with channel(service) as one:
        stub: Any = PredictorStub(one)
        rpc = stub.Predict(messages.PredictRequest(image=_PICTURE, model="m"), timeout=LIMIT)
    assert (rpc.detector.model, rpc.detector.model_version) == ("shapes", "v2")

    drawn = service.client.post(
        "/predict/annotated",
        params={"model": "m"},
        content=_PICTURE,
        headers={"content-type": "image/jpeg", "accept": "image/png"},
    )
    assert drawn.headers["x-detector-version"] == "v2"
    pixels = np.asarray(Image.open(BytesIO(drawn.content)))
    assert (pixels == colour_of("code")).all(axis=2).any()


_TROUBLES = {
    "lost": "crop_with.model: there is no model 'nobody'",
    "typo": "crop_with.labels: shapes:v2 has no label 'circel'",
}


@pytest.mark.parametrize("name", _TROUBLES)
def test_an_operator_sees_why_a_model_cannot_crop(service: Service, name: str) -> None:
    trouble = _TROUBLES[name]
    version = service.get(f"/models/{name}").json()["versions"][0]
    assert (version["state"], version["reason"]) == ("serving", trouble)
    assert service.predict(_PICTURE, model=name).status_code == {"lost": 503, "typo": 409}[name]
    listed = subprocess.run(
        [BIN / "okawari", "models"],
        env=environment(service.home, service.home),
        capture_output=True,
        text=True,
        check=True,
        timeout=LIMIT,
    ).stdout
    assert any(line.startswith(name) and line.endswith(trouble) for line in listed.splitlines()), listed
    told = [line for line in service.lines() if trouble in line and '"WARNING"' in line]
    assert len(told) == 1


def test_swaps_of_both_under_load_lose_no_request(service: Service) -> None:
    """The boxes tell which detector was asked, the score which classifier."""
    for version in ("v1", "v2"):
        service.target(version, "shapes")
    boxes = {}
    for version in ("v1", "v2"):
        assert service.target(version, "shapes").status_code == 200
        boxes[version] = _boxes(service.predict(_PICTURE, model="shapes").json())
    assert boxes["v1"] != boxes["v2"]
    answers: list[dict[str, Any]] = []
    problems: list[str] = []
    ending = threading.Event()

    def ask_on() -> None:
        with httpx.Client(base_url=service.url, timeout=60, trust_env=False) as client:
            while not ending.is_set():
                answer = client.post(
                    "/predict?model=m", content=_PICTURE, headers={"content-type": "image/jpeg"}
                )
                if answer.status_code == 200:
                    answers.append(answer.json())
                else:
                    problems.append(answer.text)

    threads = [threading.Thread(target=ask_on) for _ in range(_CLIENTS)]
    for thread in threads:
        thread.start()
    try:
        for swap in range(SIZES.swaps):
            name = ("m", "shapes")[swap % 2]
            assert service.target(f"v{swap // 2 % 2 + 1}", name).status_code == 200
    finally:
        ending.set()
        for thread in threads:
            thread.join()
    assert problems == []
    for body in answers:
        assert _boxes(body) == boxes[body["detector"]["model_version"]]
        assert {f"v{code_of(each['score'])}" for each in body["detections"]} == {body["model_version"]}
    pairs = {(body["model_version"], body["detector"]["model_version"]) for body in answers}
    print(f"{len(answers)} answers over {SIZES.swaps} swaps, by {sorted(pairs)}")
    assert len(pairs) >= 3


def test_the_example_names_the_species_of_a_photograph(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    data = need_data()
    weights = data / "models" / "mobilenet_v2_inat_bird"
    store = Store(tmp_path / "home", tmp_path)
    store.take(assemble(choose(entries(), "fastestdet", "v2"), tmp_path / "new", mirror=data / "models"))
    version = tmp_path / "species" / "v1"

    def example(*words: object) -> str:
        monkeypatch.setattr("sys.argv", ["species.py", *map(str, words)])
        species.main()
        return capsys.readouterr().out

    example("prepare", weights / "mobilenet_v2_inat_bird.onnx", weights / "labels.txt", version)
    store.take(version)
    with contextmanager(services)() as make:
        service = make(store.home, OKAWARI_SERVE="species:latest,fastestdet:latest").ready()
        first, second = example("ask", data / "images/coral/parrot.jpg", service.url).splitlines()
    assert first == "species:v1 on boxes of fastestdet:v2"
    assert "Ara macao (Scarlet Macaw)" in second
