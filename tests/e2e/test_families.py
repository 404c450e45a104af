"""Families with prompts on the running service: imported as users do, asked over every wire, swapped."""

from __future__ import annotations

import base64
import json
import math
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import grpc
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


SMALL = encode(smooth(64, 48), "PNG")


def _import(home: Path, scratch: Path, name: str) -> None:
    """Import a reference with all its files, tried out as any import is."""
    reference, files, config = MODELS[name]
    folder = scratch / name / "v1"
    folder.mkdir(parents=True)
    for file in files:
        shutil.copy(Reference.of(reference).folder / file, folder)
    # One small picture, since large inputs are slow beside other tests.
    (folder / "check.png").write_bytes(SMALL)
    checked = {"golden": [{"file": "check.png"}], "warm_up": {"runs": 0}, "gate": {"policy": "off"}}
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
        ("dino", {"text_prompt": "x" * 20_001}, "at most 20000 characters"),
        ("dino", {"text_prompt": "bird .", "points": [[0.5, 0.5, 1]]}, "points: family 'grounding-dino'"),
        ("sam", {}, "points: missing"),
        ("sam", {"points": [[0.5, 1.5, 1]]}, "points: "),
        ("sam", {"points": "[[NaN, 0, 1]]"}, "points: "),
        ("sam", {"boxes": [[0.1, 0.1, 0.5, 0.5]]}, "takes points alone"),
        ("dino", {"text_prompt": ""}, "text_prompt: missing"),
        ("dino", {"text_prompt": " \t\n"}, "text_prompt: it has no phrase"),
        ("dino", {"text_prompt": "." * 10_000}, "text_prompt: it has no phrase"),
        ("dino", {"text_prompt": "x" * 100_000}, "at most 20000 characters"),
        ("dino", {"text_prompt": " . ".join(map(str, range(1000)))}, "1000 phrases have"),
        ("sam", {"points": [[-0.1, 0.5, 1]]}, "points: "),
        ("sam", {"points": [[0.5, 0.5, 2]]}, "points: "),
        ("sam", {"points": [[0.5, 0.5]]}, "points: "),
        ("sam", {"points": [[[0.5], 0.5, 1]]}, "points: "),
        ("sam", {"points": [[0.5, 0.5, 1]] * 101}, "at most 100 rows"),
        ("sam", {"points": "[" * 9_000 + "]" * 9_000}, "points: "),
        ("sam", {"points": '{"x": 0.5}'}, "points: must be a list"),
        ("sam", {"boxes": "[[NaN, NaN, NaN, NaN]]"}, "boxes: not JSON"),
        ("sam", {"boxes": [["nan", "nan", "nan", "nan"]]}, "boxes: "),
        ("sam", {"boxes": [[0.5, 0.5, 0.5, 0.5]]}, "x1 < x2"),
        ("sam", {"boxes": [[0.9, 0.1, 0.2, 0.5]]}, "x1 < x2"),
        ("sam", {"boxes": [[0.1, 0.1, 1e300, 0.5]]}, "boxes: "),
        ("sam", {"top_k": "nan", "points": [[0.5, 0.5, 1]]}, "top_k: "),
        ("clip", {"text_prompt": ". ".join(map(str, range(1500)))}, "at most 1000"),
        ("clip", {}, "text_prompt: missing"),
        ("clip", {"text_prompt": "a .", "nms_threshold": 0.5}, "nms_threshold: family 'clip'"),
    ],
)
def test_what_a_model_does_not_take_is_told(
    service: Service, model: str, fields: dict[str, Any], word: str
) -> None:
    texts = {name: value if isinstance(value, str) else json.dumps(value) for name, value in fields.items()}
    answer = service.client.post("/predict", files={"image": SMALL}, data={"model": model, **texts})
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_argument"), answer.text
    assert word in answer.json()["error"]["message"]


#: Prompts that are odd, and answered.
ODD = [
    "🐦 . 🐈‍⬛ .",
    "птица . 鳥 . طائر .",
    "x" * 10_000,
    "a\u0300" * 500,
    "bird\0. cat",
    "\u202ebird . \ufeffcat",
    "<b>bird</b> . ' OR 1=1 -- . {{x}} .",
    "[CLS] . [SEP] . [MASK] .",
]


@pytest.mark.parametrize("model", ["dino", "clip"])
@pytest.mark.parametrize("prompt", ODD, ids=range(len(ODD)))
def test_odd_prompts_are_answered(service: Service, model: str, prompt: str) -> None:
    body = {"image": base64.b64encode(SMALL).decode(), "model": model, "text_prompt": prompt, "threshold": 0}
    answer = service.client.post("/predict", json={**body, "max_detections": 5})
    assert answer.status_code == 200, answer.text
    assert all(0 <= score <= 1 for score in answer.json()["scores"])
    request = messages.PredictRequest(
        image=SMALL, model=model, text_prompt=prompt, threshold=0, max_detections=5
    )
    rpc = _over_grpc(service, request)
    assert list(rpc.scores) == pytest.approx(answer.json()["scores"], abs=1e-5)


def test_a_thousand_classes_are_compared(service: Service) -> None:
    prompt = " . ".join(f"kind {number}" for number in range(1000))
    found = _over_http(service, SMALL, model="clip", text_prompt=prompt, top_k=1000, max_detections=1000)
    assert len(found["detections"]) == 1000
    assert sum(found["scores"]) == pytest.approx(1)


@pytest.mark.parametrize(
    "changes",
    [
        {"text_prompt": "x" * 100_000},
        {"points": [messages.Point(x=math.nan, y=0.5, label=1)]},
        {"points": [messages.Point(x=0.5, y=math.inf, label=1)]},
        {"points": [messages.Point(x=0.5, y=-0.5, label=1)]},
        {"points": [messages.Point(x=0.5, y=0.5, label=-1)]},
        {"points": [messages.Point(x=0.5, y=0.5, label=1)] * 101},
        {"boxes": [messages.Box(x1=math.nan, y1=math.nan, x2=math.nan, y2=math.nan)]},
        {"boxes": [messages.Box(x1=0, y1=0, x2=math.inf, y2=1)]},
        {"box_threshold": math.nan, "points": [messages.Point(x=0.5, y=0.5, label=1)]},
    ],
    ids=range(9),
)
def test_odd_numbers_and_long_texts_over_grpc_are_refused(service: Service, changes: dict[str, Any]) -> None:
    with pytest.raises(grpc.RpcError) as refused:
        _over_grpc(service, messages.PredictRequest(image=SMALL, model="sam", **changes))
    error: Any = refused.value
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT, error.details()


@pytest.mark.parametrize(
    "parameters",
    [
        {"text_prompt": "x" * 100_000},
        {"text_prompt": ""},
        {"text_prompt": 5},
        {"text_prompt": "bird", "threshold": "NaN"},
        {"text_prompt": "bird", "points": "[[2, 2, 1]]"},
        {"text_prompt": "bird", "boxes": "[[NaN, 0, 1, 1]]"},
    ],
    ids=range(6),
)
def test_odd_parameters_of_the_open_protocol_are_refused(
    service: Service, parameters: dict[str, Any]
) -> None:
    picture = {"name": "image", "shape": [1], "datatype": "BYTES", "data": [base64.b64encode(SMALL).decode()]}
    answer = service.client.post(
        "/v2/models/dino/infer", json={"inputs": [picture], "parameters": parameters}
    )
    assert answer.status_code == 400, answer.text
    assert set(answer.json()) == {"error"}


@pytest.mark.full
def test_ever_new_prompts_hold_no_memory(service: Service) -> None:
    """Each is another one: what is kept of the last ones is bounded, and refused ones leave nothing."""

    def ask(first: int, count: int) -> None:
        for number in range(first, first + count):
            prompt = " . ".join(f"{number} {word}" for word in range(50))
            fields = {"model": "clip", "text_prompt": prompt}
            answer = service.client.post("/predict", files={"image": SMALL}, data=fields)
            assert answer.status_code == 200, answer.text
            fields = {"model": "dino", "text_prompt": f"{number} " * 2000}
            answer = service.client.post("/predict", files={"image": SMALL}, data=fields)
            assert answer.status_code == 400, answer.text

    ask(0, 100)
    before = service.resident()
    ask(100, 300)
    assert service.resident() - before < 16e6


@pytest.mark.full
def test_ever_new_pictures_of_a_model_that_keeps_some_hold_no_memory(service: Service) -> None:
    """The encoder's results of eight pictures are kept, 8 MB each, of which the oldest goes."""

    def ask(first: int, count: int) -> None:
        for number in range(first, first + count):
            image = encode(np.full((16, 16, 3), number, np.uint8), "PNG")
            _over_http(service, image, model="sam", points=[[0.5, 0.5, 1]])

    ask(0, 10)
    before = service.resident()
    ask(10, 12)
    assert service.resident() - before < 24e6
