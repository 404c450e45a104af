"""ModelMora's calls on the real service give the vectors of the reference, over both names."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from numpy.typing import NDArray

from api.protos import modelmora_pb2 as mm
from api.protos.modelmora_pb2_grpc import ModelInferenceStub
from tests.api.grpc import plain
from tests.data import need_data
from tests.e2e.harness import Service
from tests.e2e.reporting import services
from tests.e2e.stores import Store
from tests.runners import golden

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]

MODEL = "mobilenet_v1_embed"

Vectors = list[tuple[dict[str, Any], NDArray[np.float32]]]


@pytest.fixture(scope="module")
def data() -> Path:
    """The reference's folder."""
    return need_data()


@pytest.fixture(scope="module")
def service(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """The real service; the model was imported from a folder."""
    scratch = tmp_path_factory.mktemp("golden")
    store = Store(scratch / "home", scratch)
    store.take(_folder(data, scratch / MODEL / "v1"))
    with contextmanager(services)() as make:
        yield make(store.home).ready()


def _folder(data: Path, folder: Path) -> Path:
    folder.mkdir(parents=True)
    shutil.copy(data / "models" / golden.reference_entry(data, MODEL)["file"], folder / "weights.onnx")
    config = {
        "format": 1,
        "task": "image-embedding",
        "family": "embedder",
        "input": golden.input_of(data, MODEL),
        "output": {"names": ["embedding"], "parameters": {"dimension": 1024}},
    }
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "README.md").write_text("The reference's own.\n")
    return folder


def items(data: Path) -> list[dict[str, Any]]:
    """What the reference says of this model."""
    found = json.loads((data / "golden" / "embedding.json").read_bytes())["items"]
    return [item for item in found if item["model"] == MODEL]


@pytest.fixture(scope="module")
def vectors(data: Path, service: Service) -> Vectors:
    """Each item of the reference, and its vector: all of them in one batch."""
    wanted = items(data)
    requests = [
        mm.EmbeddingRequest(
            request_id=item["image"], image_data=(data / item["image"]).read_bytes(), model_name=MODEL
        )
        for item in wanted
    ]
    with grpc.insecure_channel(service.grpc_address) as channel:
        answers = ModelInferenceStub(channel).GenerateBatch(mm.BatchRequest(requests=requests), timeout=60)
        found = {answer.request_id: answer for answer in answers}
    assert not any(answer.error for answer in found.values())
    assert {(answer.dimension, answer.model_version) for answer in found.values()} == {(1024, "v1")}
    return [(item, np.array(found[item["image"]].vector, np.float32)) for item in wanted]


def test_the_vectors_of_a_batch_are_those_of_the_reference(vectors: Vectors) -> None:
    assert len(vectors) == 30
    worst = 0.0
    for item, vector in vectors:
        assert vector.shape == (1024,)
        assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-5)
        worst = max(worst, float(np.abs(vector[:8] - item["first_8_normalised"]).max()))
    print(f"30 vectors; the first 8 values differ by {worst:.5f} at most")
    assert worst <= 0.001


def test_nearest_pictures_are_those_of_the_reference(vectors: Vectors) -> None:
    table = np.stack([vector for _, vector in vectors])
    images = [item["image"] for item, _ in vectors]
    for (item, _), cosines in zip(vectors, table @ table.T, strict=True):
        order = [images[i] for i in np.argsort(-cosines) if images[i] != item["image"]]
        wanted = item["nearest_in_this_file"]
        assert order[: len(wanted)] == [one["image"] for one in wanted]
        found = [float(cosines[images.index(one["image"])]) for one in wanted]
        assert found == pytest.approx([one["cosine"] for one in wanted], abs=0.002)


def test_every_call_gives_the_same_vector_and_so_does_http(
    data: Path, service: Service, vectors: Vectors
) -> None:
    item, vector = vectors[0]
    picture = (data / item["image"]).read_bytes()
    wanted = mm.EmbeddingRequest(image_data=picture, model_name=MODEL)
    with grpc.insecure_channel(service.grpc_address) as channel:
        stub = ModelInferenceStub(channel)
        one = stub.GenerateEmbedding(wanted, timeout=60)
        told = list(stub.GenerateEmbeddingStream(wanted, timeout=60))
    over_http = service.predict(picture, model=MODEL).json()
    assert [mm.InferenceStatus.State.Name(each.state) for each in told] == ["QUEUED", "RUNNING", "DONE"]
    for other in (one.vector, told[-1].result.vector, over_http["embedding"]):
        assert list(other) == pytest.approx(vector.tolist(), abs=1e-6)
    assert one.model_digest == over_http["model_digest"]
    assert one.model_digest.startswith("sha256:")


def test_a_stub_without_a_package_is_given_the_same_vectors(
    data: Path, service: Service, vectors: Vectors, tmp_path: Path
) -> None:
    item, vector = vectors[0]
    told = plain.ask(tmp_path, service.grpc_address, MODEL, data / item["image"])
    for found in (told["vector"], told["last"], told["batch"]["plain"][0]):
        assert found == pytest.approx(vector.tolist(), abs=1e-6)
    assert told["batch"]["bad"][1].startswith("model_not_found: ")
    assert told["states"] == ["QUEUED", "RUNNING", "DONE"]
