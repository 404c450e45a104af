"""The wording of the main messages, in one list. Other tests assert codes, fields and numbers."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import click
import numpy as np
import orjson
import pytest

from api import errors, predict_fields
from api.budget import ByteBudget
from api.http import content_encoding
from api.http.image_response import acceptable
from api.kserve_v1 import codec
from api.open_inference import http_codec, not_supported
from cli.arguments import version_of
from cli.main import COMMANDS
from hotswap.predictions import TensorSpec
from hotswap.repository import ModelInfo, VersionInfo
from manifest.tags import ModelTag
from manifest.version_manifest import parse_config
from models_import import reasons
from models_import.candidates import Wanted, candidates
from models_import.file_kinds import by_name
from runners.families.index import check_config
from runners.image_header import sniff
from runners.tensors import check_inputs
from settings import Settings, findings, unknown

BOUNDARY = "multipart/form-data; boundary=b"
CONFIG = {
    "format": 1,
    "task": "object-detection",
    "family": "yolo",
    "input": {"width": 8, "height": 8},
    "labels": ["a"],
}


def form(*names: str) -> bytes:
    parts = (f'--b\r\ncontent-disposition: form-data; name="{name}"\r\n\r\n\0\r\n' for name in names)
    return "".join(parts).encode() + b"--b--\r\n"


def infer(**changes: object) -> object:
    tensor = {"name": "x", "datatype": "FP32", "shape": [2], "data": [1, 2]} | changes
    body = orjson.dumps({"inputs": [tensor]})
    return http_codec.parse(body, len(body))


def v1(document: object) -> object:
    return codec.parse(orjson.dumps(document))


def model(*versions: str) -> ModelInfo:
    return ModelInfo("code", versions[-1], {version: VersionInfo(version) for version in versions}, None)


#: What is done → the message of the error that it raises.
RAISED: list[tuple[Callable[[], object], str]] = [
    # --- HTTP: /predict
    (
        lambda: predict_fields.parse(BOUNDARY, {}, form("image", "image")),
        "duplicate field: image; send it once, and one request per picture",
    ),
    (
        lambda: predict_fields.parse("image/jpeg", {"colour": "red"}, b"\xff"),
        "unknown field 'colour'; allowed are image, model, version, threshold, box_threshold, "
        "max_detections, text_prompt, text_threshold, nms_threshold, points, boxes, top_k, mask_format",
    ),
    (
        lambda: predict_fields.parse("image/jpeg", {"threshold": "2"}, b"\xff"),
        "threshold: '2' is not a number from 0 to 1",
    ),
    (
        lambda: predict_fields.parse("application/json", {}, b'{"image": "ab*d"}'),
        "image: not base64: character 2 is '*'; allowed are A-Z a-z 0-9 + / (or - _), = at the end, white "
        "space, and 'data:…;base64,' before it",
    ),
    (
        lambda: predict_fields.parse("text/html", {}, b"<p>"),
        "Content-Type 'text/html': accepted are multipart/form-data, image/*, application/octet-stream, "
        "application/json; send a form (curl -F image=@x.jpg), or the file alone (curl --data-binary @x.jpg)",
    ),
    (
        lambda: predict_fields.parse("application/x-www-form-urlencoded", {}, b"\xff" * 5000),
        "the picture has lost bytes: curl -d strips some; use curl --data-binary",
    ),
    (lambda: sniff(b""), "the picture is empty (0 bytes)"),
    (lambda: acceptable(["text/html"]), "Accept 'text/html': offered are image/jpeg, image/png, image/webp"),
    (
        lambda: content_encoding.expand(b"no", "gzip", 9, lambda _: None),
        "the body is not gzip, as Content-Encoding says: Error -3 while decompressing data: incorrect header "
        "check",
    ),
    (lambda: ByteBudget(1).add(2), "the service holds too many pictures at once; retry shortly"),
    # --- gRPC: the picture of `Predict`, by its field's name there
    (
        lambda: predict_fields.checked(b"", {}, field="image_data"),
        "image_data: empty or missing; send the bytes of a JPEG, PNG, WebP, BMP, AVIF or HEIC",
    ),
    # --- Open Inference Protocol
    (lambda: infer(shape=[3]), "input x: [3] has 3 elements, found 2"),
    (lambda: infer(data=["a", "b"]), "input x: data: FP32 takes number, whole number, found string"),
    (lambda: infer(data=[1e300, 0]), "input x: an element is out of the range of FP32"),
    (
        lambda: infer(datatype="FLOAT"),
        "input x: datatype: allowed are BOOL, UINT8, UINT16, UINT32, UINT64, INT8, INT16, INT32, INT64, "
        "FP16, FP32, FP64, BF16, BYTES; found 'FLOAT'",
    ),
    (
        lambda: infer(parameters={"shared_memory_region": "r"}),
        "input x: shared_memory_region: shared memory is not supported; send tensor data in the request",
    ),
    (
        lambda: check_inputs([TensorSpec("image", "FP32", (-1,))], {"x": np.zeros(1)}),
        "inputs: there is no input 'x'; the model takes image",
    ),
    # --- KServe V1
    (
        lambda: v1({"instances": [], "colour": 1}),
        "unknown field 'colour' of the request; allowed are instances, inputs, parameters, signature_name",
    ),
    (
        lambda: v1({"instances": [1.5]}),
        'instances: send a picture as base64, such as {"image": {"b64": "…"}}, {"b64": "…"} or "…"; send '
        "tensors to POST /v2/models/{name}/infer",
    ),
    # --- command line
    (
        lambda: version_of(model("v1", "v10", "v2"), "3"),
        "there is no version v3 of code; versions: v1, v2, v10",
    ),
    (lambda: candidates(Path("/none"), Wanted()), "/none: neither a file nor a folder"),
    (
        lambda: check_config(parse_config(json.dumps(CONFIG))),
        "config.json: family: allowed are adapter, classifier, clip, detr, embedder, exposure, fastestdet, "
        "generic, grounding-dino, nanodet, owlv2, rtdetr, sam, segmenter, shapes, ultraface, yolov5, yolov8, "
        "yolov8-seg, yolox, found 'yolo'",
    ),
]


@pytest.mark.parametrize(("call", "message"), RAISED, ids=[message[:40] for _, message in RAISED])
def test_the_error_says_what_is_wrong_found_and_allowed(call: Callable[[], object], message: str) -> None:
    with pytest.raises((Exception, click.ClickException)) as error:
        call()
    assert getattr(error.value, "message", str(error.value)) == message


SAID: list[tuple[str, str]] = [
    (
        reasons.interrupted(ModelTag("code", "v1"), "weights.onnx is missing"),
        "weights.onnx is missing: an import is running, or was interrupted; if none is running, run "
        "`okawari remove code v1`, then import it again",
    ),
    (
        reasons.damaged(ModelTag("code", "v1"), "weights.onnx does not match its sha256"),
        "weights.onnx does not match its sha256; run `okawari remove code v1`, then import it again",
    ),
    (
        str(kind.sentence("best.pt") if (kind := by_name("best.pt")) else None),
        "best.pt is not an ONNX model, but a PyTorch model (a pickle, which is never opened): export it to "
        "ONNX (`yolo export format=onnx`, or `torch.onnx.export`) and import the .onnx",
    ),
    (
        unknown(["okawari_loglevel"])[0],
        "okawari_loglevel: unknown setting, ignored; did you mean OKAWARI_LOG_LEVEL?",
    ),
    (errors.FRAMEWORK[404][1], "there is no such path; GET /docs.json lists them"),
    (errors.FRAMEWORK[429][1], "the service is at its request limit; retry shortly"),
    (errors.FRAMEWORK[504][1], "the request's deadline was exceeded"),
    (
        not_supported.METHODS["TraceSetting"],
        "tracing is not supported; for the duration of requests see GET /metrics and the service's log",
    ),
]


@pytest.mark.parametrize(("message", "golden"), SAID, ids=[golden[:40] for _, golden in SAID])
def test_the_message_says_what_to_do(message: str, golden: str) -> None:
    assert message == golden


def test_a_wrong_setting_is_named_with_its_value(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORKERS", "0")
    with pytest.raises(ValueError, match="WORKERS") as error:
        Settings()
    assert findings(error.value) == ["WORKERS: Input should be greater than or equal to 1, found '0'"]


SUMMARIES = {
    "annotate": "Note that an answer was wrong.",
    "flag": "Flag a picture as worth a look.",
    "storage": "Show what pictures of devices take; clean up.",
    "import": "Check models and add them to the store.",
    "get": "Download a model of the catalogue and import it.",
    "catalogue": "List the models of the catalogue.",
    "config": "Infer a first config.json from an ONNX file.",
    "init": "Install the demo models (once per home).",
    "models": "List versions, their states, and why a version is not serving.",
    "export": "Export a version as an archive.",
    "remove": "Delete a version from the store.",
    "status": "Show whether the service is up, its addresses and what it serves.",
    "predict": "Run pictures through the service and show the detections.",
    "pin": "Pin a model to one version.",
    "follow": "Follow latest, or an alias such as @production.",
    "load": "Load a model into memory, also after an unload.",
    "unload": "Unload a model from memory; its files stay.",
    "warmup": "Run a model on the pictures that it is checked on.",
    "sign": "Sign a version with a private key.",
    "promote": "Make a version production, and serve it.",
    "rollback": "Go back to the version that was production before.",
    "alias": "Let an alias mean a version.",
    "archive": "Put a version away.",
    "registry": "The record of all versions.",
    "db": "Make and check the tables of the records, and of a registry in a database.",
    "history": "Show who changed a model, when and why.",
    "who-served": "Say which version answered at a moment.",
    "reload": "Rescan the store now and retry failed versions.",
    "device": "Give devices their tokens; list, disable and enable them.",
    "devices": "Choose where models run, and show where they do.",
    "audit": "List who changed what, when and why; verify that record.",
    "dispatch": "Ask the service about each message of a topic of Kafka.",
    "events": "Take events: make vectors, record requests to retrain.",
    "canary": "Let a version answer a share of the requests.",
    "gate": "Show what the gate found about a version; judge it anew.",
    "golden": "Pictures that every new version has to prove itself on.",
    "compare": "Compare two versions on pictures, as a page.",
    "dlq": "List messages without a result; send them back.",
    "soak": "Run a service of its own for hours under traffic, swaps and faults.",
    "families": "List the model families.",
    "schema": "Print the JSON Schema of config.json.",
}


def test_the_commands_have_these_summaries() -> None:
    assert {name: summary for name, (_, summary) in COMMANDS.items()} == SUMMARIES
