"""Families with prompts on the running service: imported as users do, asked over every wire, swapped."""

from __future__ import annotations

import base64
import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco

from api.protos import predictor_pb2 as messages
from api.protos.predictor_pb2_grpc import PredictorStub
from hotswap.predictions import Detection
from models_import.candidates import Candidate, Wanted
from models_import.importer import Importer
from runners.drawing.palette import BLACK, WHITE
from tests.e2e.harness import Service
from tests.e2e.reporting import services
from tests.e2e.rpc_load import channel
from tests.e2e.sizes import LIMIT
from tests.runners import test_clip, test_grounding_dino, test_sam
from tests.runners.pictures import encode, smooth
from tests.runners.references import Reference, ReferencePicture, match

#: The first test waits for three imports and a start as well: a quarter of a minute alone.
pytestmark = [pytest.mark.e2e, pytest.mark.timeout(3 * LIMIT)]

#: Model → reference folder, its files beside the graphs, and its config.
MODELS: Mapping[str, tuple[str, tuple[str, ...], dict[str, Any]]] = {
    "dino": (
        "grounding_dino",
        ("model.onnx", "tokenizer.json"),
        test_grounding_dino.CONFIG,
    ),
    "sam": ("sam", ("vision_encoder.onnx", "prompt_encoder_mask_decoder.onnx"), test_sam.CONFIG),
    "clip": ("clip", ("vision_model.onnx", "text_model.onnx", "tokenizer.json"), test_clip.TWO_GRAPHS),
}


def _import(home: Path, scratch: Path, name: str) -> None:
    """Import a reference with all its files, tried out as any import is."""
    reference, files, config = MODELS[name]
    folder = scratch / name / "v1"
    folder.mkdir(parents=True)
    for file in files:
        shutil.copy(Reference.of(reference).folder / file, folder)
    # One small picture, since large inputs are slow beside other tests.
    (folder / "check.png").write_bytes(encode(smooth(64, 48), "PNG"))
    checked = {"golden": [{"file": "check.png"}], "warm_up": {"runs": 0}}
    (folder / "config.json").write_text(json.dumps(config | checked))
    Importer(home).run(Candidate(folder, Wanted(), named=True))


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("families")
    for name in MODELS:
        _import(folder / "home", folder / "scratch", name)
    with contextmanager(services)() as make:
        yield make(folder / "home", OKAWARI_SERVE=",".join(f"{name}:latest" for name in MODELS)).ready()


def _bytes(asked: ReferencePicture) -> bytes:
    assert asked.picture.encoded is not None
    return asked.picture.encoded


def _over_http(service: Service, image: bytes, **fields: Any) -> dict[str, Any]:
    texts = {name: value if isinstance(value, str) else json.dumps(value) for name, value in fields.items()}
    answer = service.client.post("/predict", files={"image": image}, data=texts)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def _over_v2(service: Service, model: str, image: bytes, **parameters: Any) -> dict[str, Any]:
    texts = {
        name: json.dumps(value) if isinstance(value, list) else value for name, value in parameters.items()
    }
    picture = {
        "name": "image",
        "shape": [1],
        "datatype": "BYTES",
        "data": [base64.b64encode(image).decode()],
    }
    answer = service.client.post(f"/v2/models/{model}/infer", json={"inputs": [picture], "parameters": texts})
    assert answer.status_code == 200, answer.text
    return {each["name"]: each["data"] for each in answer.json()["outputs"]}


def _over_grpc(service: Service, request: messages.PredictRequest) -> messages.PredictResponse:
    with channel(service) as one:
        stub: Any = PredictorStub(one)
        response: messages.PredictResponse = stub.Predict(request, timeout=LIMIT)
        return response


def test_a_prompt_gives_the_originals_detections_over_every_wire(service: Service) -> None:
    asked = next(Reference.of("grounding_dino").pictures())
    options: dict[str, Any] = {
        "text_prompt": asked.expected["prompt"],
        "text_threshold": asked.expected["text_threshold"],
        "max_detections": 1000,
    }
    threshold, image = asked.expected["threshold"], _bytes(asked)
    http = _over_http(service, image, model="dino", box_threshold=threshold, **options)
    found = tuple(
        Detection(each["label"], each["label_id"], each["score"], tuple(each["bbox"]), each["phrase"])
        for each in http["detections"]
    )
    assert match(found, asked).good
    tensors = _over_v2(service, "dino", image, threshold=threshold, **options)
    assert tensors["num_detections"] == [len(found)]
    assert tensors["labels"] == [each.label for each in found]
    assert tensors["phrases"] == [each.phrase for each in found]
    request = messages.PredictRequest(image=image, model="dino", box_threshold=threshold, **options)
    rpc = _over_grpc(service, request)
    assert [(each.label, each.score, each.phrase) for each in rpc.detections] == [
        (each.label, each.score, each.phrase) for each in found
    ]


def test_a_point_gives_a_mask_over_every_wire_that_others_read(service: Service) -> None:
    asked = next(Reference.of("sam").pictures())
    (width, height), image = asked.size, _bytes(asked)
    ((x, y),) = asked.expected["input_points_original"][0]
    point = [x / width, y / height, 1]
    (detection,) = _over_http(service, image, model="sam", points=[point])["detections"]
    mask = coco.decode(detection["mask"])
    assert mask.shape == (height, width)
    best = next(one for one in asked.expected["masks"] if one["best"])
    expected = np.repeat(np.arange(len(best["rle"])) % 2, best["rle"]).reshape(height, width)
    assert (mask & expected).sum() / (mask | expected).sum() >= 0.999
    (text,) = _over_v2(service, "sam", image, points=[point])["masks"]
    assert json.loads(text) == detection["mask"]
    places = [messages.Point(x=point[0], y=point[1], label=1)]
    (rpc,) = _over_grpc(service, messages.PredictRequest(image=image, model="sam", points=places)).detections
    assert rpc.mask.counts == detection["mask"]["counts"]
    (png,) = _over_http(service, image, model="sam", points=[point], mask_format="png")["detections"]
    assert base64.b64decode(png["mask"]["png"]).startswith(b"\x89PNG")


def test_the_drawn_picture_shows_the_mask_and_its_point(service: Service) -> None:
    asked = next(Reference.of("sam").pictures())
    fields = {"model": "sam", "points": json.dumps([[0.5, 0.5, 1], [0.1, 0.1, 0]])}
    (detection,) = _over_http(service, _bytes(asked), **fields)["detections"]
    drawn = service.client.post(
        "/predict/annotated",
        files={"image": _bytes(asked)},
        data=fields,
        headers={"accept": "image/png"},
    )
    assert drawn.status_code == 200, drawn.text
    after = np.asarray(Image.open(BytesIO(drawn.content)))
    before = np.asarray(Image.open(BytesIO(_bytes(asked))).convert("RGB"))
    height, width, _ = after.shape
    assert tuple(after[height // 2, width // 2]) == WHITE
    assert tuple(after[height // 10, width // 10]) == BLACK
    changed = (after != before).any(axis=2)
    assert changed[coco.decode(detection["mask"]) == 1].mean() > 0.99


def test_texts_are_compared_by_two_graphs(service: Service) -> None:
    asked = next(Reference.of("clip").pictures())
    labels = Reference.of("clip").expected["about"]["labels"]
    answer = _over_http(service, _bytes(asked), model="clip", text_prompt=" . ".join(labels), top_k=6)
    found = {each["label"]: each["score"] for each in answer["detections"]}
    for label, probability in zip(labels, asked.expected["zero_shot_probabilities"], strict=True):
        assert found[label] == pytest.approx(probability, abs=0.01)


@pytest.mark.parametrize(
    ("model", "fields", "word"),
    [
        ("dino", {}, "text_prompt: missing"),
        ("dino", {"text_prompt": " . ."}, "text_prompt: it has no phrase"),
        ("dino", {"text_prompt": "🐦 . " * 200 + "many words " * 300}, "tokens; at most 256"),
        ("dino", {"text_prompt": "x" * 10_001}, "at most 10000 characters"),
        ("dino", {"text_prompt": "bird .", "points": [[0.5, 0.5, 1]]}, "points: family 'grounding-dino'"),
        ("sam", {}, "points: missing"),
        ("sam", {"points": [[0.5, 1.5, 1]]}, "points: "),
        ("sam", {"points": "[[NaN, 0, 1]]"}, "points: "),
        ("sam", {"boxes": [[0.1, 0.1, 0.5, 0.5]]}, "takes points alone"),
        ("clip", {"text_prompt": ". ".join(map(str, range(1500)))}, "at most 1000"),
        ("clip", {"text_prompt": "a .", "nms_threshold": 0.5}, "nms_threshold: family 'clip'"),
    ],
)
def test_what_a_model_does_not_take_is_told(
    service: Service, model: str, fields: dict[str, Any], word: str
) -> None:
    asked = next(Reference.of("grounding_dino").pictures())
    texts = {name: value if isinstance(value, str) else json.dumps(value) for name, value in fields.items()}
    answer = service.client.post("/predict", files={"image": _bytes(asked)}, data={"model": model, **texts})
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_argument"), answer.text
    assert word in answer.json()["error"]["message"]
