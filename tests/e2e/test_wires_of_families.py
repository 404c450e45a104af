"""Each family answers over every wire what its version answers in a process without a server."""

from __future__ import annotations

import base64
import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from api.masks import coco_counts
from api.protos import predictor_pb2 as messages
from api.protos.predictor_pb2_grpc import PredictorStub
from hotswap.predictions import Options, Picture, Prediction
from models_import.candidates import Candidate, Wanted
from models_import.importer import Importer
from tests.e2e.harness import Service
from tests.e2e.reporting import services
from tests.e2e.rpc_load import channel
from tests.e2e.sizes import LIMIT
from tests.runners import test_owlv2, test_plain_judge, test_rtdetr, test_segmenter, test_whole_references
from tests.runners.pictures import encode, smooth
from tests.runners.references import Reference, ReferencePicture, answer

#: The first test waits for five imports and a start as well.
pytestmark = [pytest.mark.e2e, pytest.mark.timeout(3 * LIMIT)]


#: Asks for detections of any score.
ALL = Options(threshold=0.0)


@dataclass(frozen=True)
class Asked:
    """A model's graph with its config, and the options asked with.

    The graph is that of a reference folder, with files of other folders, or one made in `pixel_graphs`.
    """

    folder: str | None
    config: Mapping[str, Any]
    files: tuple[str, ...] = ()
    options: Options = ALL

    def put(self, name: str, folder: Path) -> None:
        """Write graph and files of the model of this name into a folder."""
        if self.folder is None:
            (folder / "model.onnx").write_bytes(test_plain_judge.GRAPHS[name].SerializeToString())
            return
        root = Reference.of(self.folder).folder.parent
        for file in (f"{self.folder}/model.onnx", *self.files):
            shutil.copy(root / file, folder)

    def picture(self) -> ReferencePicture:
        """What is asked about."""
        if self.folder is None:
            return ReferencePicture({}, Picture(encoded=test_plain_judge.PICTURES[0]))
        return next(Reference.of(self.folder).pictures())

    @property
    def fields(self) -> dict[str, str]:
        """The options as fields of a form."""
        prompt = {"text_prompt": self.options.text_prompt} if self.options.text_prompt else {}
        return {**prompt, "threshold": str(self.options.threshold)}


MODELS: Mapping[str, Asked] = {
    "owlv2": Asked(
        "owlv2",
        test_owlv2.CONFIG,
        ("clip/tokenizer.json",),
        Options(threshold=0.0, text_prompt="a bird . a red fox ."),
    ),
    "rtdetr": Asked("rt_detr", test_rtdetr.CONFIG | {"labels": "labels.txt"}, ("rt_detr/labels.txt",)),
    "segmenter": Asked("segformer", test_segmenter.REFERENCE),
    "classifier": Asked(
        "vit_classifier", test_whole_references.LABELS_OF_VIT, ("vit_classifier/labels.txt",)
    ),
    "embedder": Asked(
        "dinov2",
        test_whole_references._embedder(test_whole_references.DINOV2, test_whole_references.FIRST),
    ),
    **{
        name: Asked(None, test_plain_judge.CONFIGS[name])
        for name in ("yolov5", "yolov8", "yolov8-seg", "detr", "rf-detr")
    },
}


def _import(home: Path, scratch: Path, name: str) -> None:
    asked = MODELS[name]
    folder = scratch / name / "v1"
    folder.mkdir(parents=True)
    asked.put(name, folder)
    (folder / "check.png").write_bytes(encode(smooth(64, 48), "PNG"))
    checked = {"golden": [{"file": "check.png"}], "warm_up": {"runs": 0}}
    (folder / "config.json").write_text(json.dumps({**asked.config, **checked}))
    Importer(home).run(Candidate(folder, Wanted(), named=True))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wires")
    for name in MODELS:
        _import(folder / "home", folder / "scratch", name)
    return folder / "home"


@pytest.fixture(scope="module")
def service(home: Path) -> Iterator[Service]:
    with contextmanager(services)() as make:
        yield make(home, OKAWARI_SERVE=",".join(f"{name}:latest" for name in MODELS)).ready()


def _alone(home: Path, name: str) -> tuple[bytes, Prediction]:
    """A picture, and what the imported version says of it here."""
    asked = MODELS[name]
    picture = asked.picture()
    version = Reference(home / "models" / name / "v1", {})
    config = json.loads((version.folder / "config.json").read_text())
    assert picture.picture.encoded is not None
    return picture.picture.encoded, answer(version.load(config), picture, asked.options)


@pytest.mark.parametrize("name", MODELS)
def test_every_wire_gives_what_the_version_gives(service: Service, home: Path, name: str) -> None:
    image, expected = _alone(home, name)
    fields = {"model": name, **MODELS[name].fields}
    http = service.client.post("/predict", files={"image": image}, data=fields).json()
    v2 = _over_v2(service, name, image)
    with channel(service) as one:
        stub: Any = PredictorStub(one)
        options = {**MODELS[name].fields, "threshold": 0.0}
        rpc = stub.Predict(messages.PredictRequest(image=image, model=name, **options), timeout=LIMIT)
    if expected.embedding is not None:
        for vector in (http["embedding"], v2["embedding"], rpc.embedding):
            assert np.allclose(vector, expected.embedding, atol=1e-5)
        return
    labels = [each.label for each in expected.detections]
    assert labels
    for found in ([each["label"] for each in http["detections"]], [each.label for each in rpc.detections]):
        assert found == labels
    scores = [each.score for each in expected.detections]
    for values in ([each["score"] for each in http["detections"]], list(rpc.scores), v2["scores"]):
        assert np.allclose(values[: len(scores)], scores, atol=1e-5)
    if expected.detections[0].bbox is not None:
        boxes = [each.bbox for each in expected.detections]
        assert np.allclose([each["bbox"] for each in http["detections"]], boxes, atol=1e-5)
        assert np.allclose([list(each.bbox) for each in rpc.detections], boxes, atol=1e-5)
        assert np.allclose(np.reshape(v2["boxes"], (-1, 4))[: len(boxes)], boxes, atol=1e-5)
    masks = [coco_counts(each.mask.counts) for each in expected.detections if each.mask is not None]
    assert [each["mask"]["counts"] for each in http["detections"] if each.get("mask")] == masks
    assert [each.mask.counts for each in rpc.detections if each.HasField("mask")] == masks
    assert [json.loads(text)["counts"] for text in v2.get("masks", []) if text] == masks


def _over_v2(service: Service, name: str, image: bytes) -> dict[str, Any]:
    picture = {
        "name": "image",
        "shape": [1],
        "datatype": "BYTES",
        "data": [base64.b64encode(image).decode()],
    }
    parameters = {**MODELS[name].fields, "threshold": 0.0}
    answered = service.client.post(
        f"/v2/models/{name}/infer", json={"inputs": [picture], "parameters": parameters}
    )
    assert answered.status_code == 200, answered.text
    return {each["name"]: each["data"] for each in answered.json()["outputs"]}
