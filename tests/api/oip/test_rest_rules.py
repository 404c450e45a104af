"""The protocol's rules for HTTP, numbered R1 to R15."""

from __future__ import annotations

import asyncio
import base64
import json
from typing import Any

import httpx
import numpy as np
import pytest

from tests import builders
from tests.api.oip import asking
from tests.api.oip.asking import document, failed, infer, outputs, pictures, pixels
from tests.api.oip.typed_model import CONSTANTS
from tests.e2e.harness import ROOT, Service
from tests.e2e.pictures import picture
from tests.e2e.reporting import Start
from tests.e2e.sizes import LIMIT
from tests.e2e.stores import Store

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(LIMIT)]

JPEG = picture()
SHAPES = sorted((ROOT / "examples/shapes/pictures").glob("*.jpg"))[:3]


def test_r1_the_service_lives(v2: Service) -> None:
    assert document(v2.get("/v2/health/live")) == {"live": True}
    assert v2.client.head("/v2/health/live").status_code == 200


def test_r2_ready_means_that_required_models_serve(v2: Service, make_service: Start, store: Store) -> None:
    assert document(v2.get("/v2/health/ready")) == {"ready": True}
    empty = make_service(store.home).start()
    answer = empty.get("/v2/health/ready")
    assert "no model serves yet" in failed(answer, 503)
    assert answer.headers["retry-after"] == "1"
    assert document(empty.get("/v2/health/live")) == {"live": True}
    failed(infer(empty, pixels()), 404)


def test_r3_a_model_and_a_version_are_ready_or_not(v2: Service) -> None:
    for version in (None, "v2", "2"):
        answer = v2.get(asking.path("m", version, "/ready"))
        assert document(answer) == {"name": "m", "ready": True}
    assert "v1" in failed(v2.get("/v2/models/m/versions/1/ready"), 400)
    failed(v2.get("/v2/models/bad/ready"), 400)
    failed(v2.get("/v2/models/nobody/ready"), 404)
    failed(v2.get("/v2/models/m/versions/v10/ready"), 404)


@pytest.mark.parametrize("path", ["/v2", "/v2/"])
def test_r4_the_service_tells_its_extensions(v2: Service, path: str) -> None:
    found = document(v2.get(path))
    assert set(found) == {"name", "version", "extensions"}
    assert found["name"] == "okawari"
    assert {"binary_tensor_data", "model_repository", "model_configuration", "statistics"} <= set(
        found["extensions"]
    )


@pytest.mark.parametrize("version", [None, "v2", "2"])
def test_r5_metadata_are_those_of_the_graph(v2: Service, version: str | None) -> None:
    found = document(v2.get(asking.path("m", version, "")))
    digest = v2.states("m")["v2"]["digest"]
    assert found == {
        "name": "m",
        "versions": ["v2"],
        "platform": "onnxruntime_onnx",
        "inputs": [{"name": "image", "datatype": "FP32", "shape": [-1, 3, 32, 32]}],
        "outputs": [{"name": "scores", "datatype": "FP32", "shape": [-1, 2]}],
        "properties": {
            "picture_input": "image",
            "picture_outputs": "scores,label_ids,labels",
            "task": "image-classification",
            "digest": digest,
        },
    }


def test_r5_metadata_tell_every_datatype(v2: Service) -> None:
    told = {each["name"]: each for each in document(v2.get("/v2/models/types"))["outputs"]}
    for name, value in CONSTANTS.items():
        wanted = "FP32" if name in ("nan", "wide") else name.upper()
        assert told[name] == {"name": name, "datatype": wanted, "shape": list(value.shape)}


def test_r6_tensors_are_answered_with_the_version_and_every_part_of_the_answer(v2: Service) -> None:
    found = document(infer(v2, pixels(2), id="mine", parameters={"anything": 1}))
    (scores,) = found.pop("outputs")
    digest = v2.states("m")["v2"]["digest"]
    assert found == {
        "model_name": "m",
        "model_version": "v2",
        "id": "mine",
        "parameters": {"digest": digest, "generation": 1},
    }
    assert {key: scores[key] for key in ("name", "datatype", "shape")} == {
        "name": "scores",
        "datatype": "FP32",
        "shape": [2, 2],
    }
    assert [builders.code_of(each) for each in scores["data"][::2]] == [2, 2]


def test_r6_what_metadata_tell_can_be_sent_as_it_is_told(v2: Service) -> None:
    (told,) = document(v2.get("/v2/models/shapes"))["inputs"]
    shape = [1 if side == -1 else side for side in told["shape"]]
    sent = {**told, "shape": shape, "data": np.zeros(shape).tolist()}
    given = {each["name"] for each in document(v2.get("/v2/models/shapes"))["outputs"]}
    assert set(outputs(infer(v2, sent, model="shapes"))) == given


def test_r7_the_version_used_is_told_whatever_was_asked_for(v2: Service) -> None:
    for version in (None, "2", "v2", "V2"):
        found = document(infer(v2, pixels(), version=version))
        assert (found["model_name"], found["model_version"]) == ("m", "v2")


def test_r8_the_id_comes_back_and_none_is_made_up(v2: Service) -> None:
    for name in ("", "x", "ä" * 1024):
        assert document(infer(v2, pixels(), id=name))["id"] == name
    assert "id" not in document(infer(v2, pixels()))
    for wrong in (7, ["x"], "x" * 1025):
        failed(infer(v2, pixels(), id=wrong), 400)


def test_r9_outputs_are_given_as_asked_for(v2: Service) -> None:
    everything = {"scores", *CONSTANTS} - {"nan", "fp16"}
    wanted = [{"name": name} for name in sorted(everything)]
    assert list(outputs(infer(v2, pixels(), model="types", outputs=wanted))) == sorted(everything)
    two = [{"name": "int8"}, {"name": "scores"}]
    assert list(outputs(infer(v2, pixels(), model="types", outputs=two))) == ["int8", "scores"]
    assert list(outputs(infer(v2, pixels(), outputs=[]))) == ["scores"]
    for wrong in ([{"name": "ghost"}], [{"name": "scores"}] * 2, [{}], ["scores"], {"name": "scores"}):
        failed(infer(v2, pixels(), outputs=wrong), 400)
    failed(infer(v2, pictures(JPEG), outputs=[{"name": "boxes"}]), 400)


def test_r10_data_are_flat_or_nested(v2: Service) -> None:
    values = np.arange(2 * 3 * 32 * 32).reshape(2, 3, 32, 32) / 6144
    answers = [
        outputs(infer(v2, pixels(2) | {"data": data.tolist()})) for data in (values, values.reshape(-1))
    ]
    assert answers[0] == answers[1]


@pytest.mark.parametrize(
    "change",
    [
        {"data": [0.5] * 3071},
        {"data": [0.5] * 3073},
        {"data": [[0.5] * 3072, [0.5] * 3072]},
        {"data": [[0.5] * 3071, 0.5]},
        {"data": [[[[0.5] * 32] * 32] * 2]},
        {"data": []},
        {"data": "0.5"},
        {"data": None},
        {"shape": [1, 3, 32, 33]},
        {"shape": [3072]},
        {"shape": [-1, 3, 32, 32]},
        {"shape": [1.0, 3, 32, 32]},
        {"shape": [True, 3, 32, 32]},
        {"shape": [2**62, 2**62], "data": []},
        {"shape": 3072},
        {"shape": None},
        {"datatype": "FP64"},
        {"datatype": "INT32", "data": [0] * 3072},
        {"datatype": "BOOL", "data": [True] * 3072},
        {"datatype": "float32"},
        {"datatype": None},
        {"name": "picture"},
        {"name": ""},
        {"name": "x" * 300},
        {"name": 7},
    ],
    ids=lambda change: f"{next(iter(change))}-{str(next(iter(change.values())))[:16]}",
)
def test_r10_what_does_not_fit_is_refused(v2: Service, change: dict[str, Any]) -> None:
    failed(infer(v2, pixels() | change), 400)


@pytest.mark.parametrize("value", [True, "0.5", None, [], {}, 1e39, 2**200])
def test_r11_an_element_of_another_kind_is_refused(v2: Service, value: Any) -> None:
    failed(infer(v2, pixels() | {"data": [value] * 3072}), 400)
    failed(infer(v2, pixels() | {"data": [0.5] * 3071 + [value]}), 400)


def test_r11_every_datatype_is_told_in_json(v2: Service) -> None:
    names = [name for name in CONSTANTS if name not in ("nan", "fp16")]
    found = document(infer(v2, pixels(), model="types", outputs=[{"name": name} for name in names]))
    for each in found["outputs"]:
        value = CONSTANTS[each["name"]]
        assert each["shape"] == list(value.shape)
        assert np.array(each["data"], value.dtype).reshape(value.shape).tolist() == value.tolist()


def test_r11_what_json_cannot_tell_is_refused_and_says_how_to_get_it(v2: Service) -> None:
    for name in ("fp16", "nan"):
        message = failed(infer(v2, pixels(), model="types", outputs=[{"name": name}]), 400)
        assert "binary tensor data" in message
    failed(infer(v2, pixels(), model="types"), 400)
    for datatype in ("FP16", "BF16"):
        assert "binary" in failed(infer(v2, pixels() | {"datatype": datatype}), 400)


@pytest.mark.parametrize("value", [None, [], {}, ["x"]])
def test_r12_a_parameter_is_a_string_a_number_or_a_boolean(v2: Service, value: Any) -> None:
    failed(infer(v2, pixels(), parameters={"x": value}), 400)
    failed(infer(v2, pixels() | {"parameters": {"x": value}}), 400)
    failed(infer(v2, pixels(), outputs=[{"name": "scores", "parameters": {"x": value}}]), 400)
    failed(infer(v2, pixels(), parameters=[1]), 400)


def test_r12_what_nobody_here_gives_is_not_silently_left_out(v2: Service) -> None:
    wanted = [{"name": "scores", "parameters": {"classification": 2}}]
    assert "classification" in failed(infer(v2, pixels(), outputs=wanted), 400)
    shared = pixels() | {"parameters": {"shared_memory_region": "x"}}
    assert "shared_memory_region" in failed(infer(v2, shared), 400)


_TEXTS: list[tuple[str, str, int, dict[str, Any]]] = [
    ("GET", "/v2/nothing", 404, {}),
    ("GET", "/v2/models/", 404, {}),
    ("GET", "/v2/models/m/versions", 404, {}),
    ("GET", "/v2/models/m/", 404, {}),
    ("GET", "/v2/health/live/", 404, {}),
    ("POST", "/v2/models/m/infer/", 404, {"json": {"inputs": [pixels()]}}),
    ("POST", "/v2/repository/models/m/unload/", 404, {}),
    ("GET", "/v2/models/m/infer", 405, {}),
    ("POST", "/v2", 405, {}),
    ("POST", "/v2/health/live", 405, {}),
    ("DELETE", "/v2/models/m", 405, {}),
    ("GET", "/v2/repository/index", 405, {}),
    ("POST", "/v2/models/m/infer", 413, {"content": b"x" * 2_000_001}),
    ("POST", "/v2/models/m/infer", 415, {"content": JPEG, "headers": {"content-type": "image/jpeg"}}),
    ("POST", "/v2/models/m/infer", 415, {"files": {"image": JPEG}}),
    ("POST", "/v2/models/m/infer", 415, {"content": b"{}", "headers": {"content-encoding": "br"}}),
    ("POST", "/v2/models/m/infer", 400, {"content": b""}),
    ("POST", "/v2/models/m/infer", 400, {"content": b"{"}),
    ("POST", "/v2/models/m/infer", 400, {"content": b"\xff\xfe"}),
    ("POST", "/v2/models/m/infer", 400, {"content": b"[" * 100_000}),
    ("POST", "/v2/models/m/infer", 400, {"json": []}),
    ("POST", "/v2/models/m/infer", 400, {"json": {}}),
    ("POST", "/v2/models/m/infer", 400, {"json": {"inputs": []}}),
    ("POST", "/v2/models/m/infer", 400, {"json": {"inputs": [7]}}),
    ("POST", "/v2/models/m/infer", 400, {"json": {"inputs": [pixels()], "outputs": False}}),
    ("POST", "/v2/models/m/infer", 400, {"json": {"inputs": [{"name": "image"}] * 300}}),
    ("POST", "/v2/models/m/infer", 400, {"json": {"inputs": [pixels(), pixels()]}}),
    ("POST", "/v2/models/m/infer", 400, {"json": {"inputs": [pictures(JPEG), pixels()]}}),
    ("POST", "/v2/models/nobody/infer", 404, {"json": {"inputs": [pixels()]}}),
    ("POST", "/v2/models/bad/infer", 503, {"json": {"inputs": [pixels()]}}),
    ("POST", "/v2/models/m/versions/1/infer", 400, {"json": {"inputs": [pixels()]}}),
    ("POST", "/v2/models/m/versions/9/infer", 404, {"json": {"inputs": [pixels()]}}),
    ("GET", "/v2/models/nobody/config", 404, {}),
    ("GET", "/v2/models/bad", 503, {}),
    ("GET", "/v2/models/m/versions/1", 400, {}),
    ("GET", "/v2/models/nobody/stats", 404, {}),
    ("GET", "/v2/models/m/versions/9/stats", 404, {}),
]


@pytest.mark.parametrize(
    ("method", "path", "status", "sent"),
    _TEXTS,
    ids=[f"{status}-{method}-{path}-{number}" for number, (method, path, status, _) in enumerate(_TEXTS)],
)
def test_r13_r14_every_failure_has_the_one_shape_and_its_status(
    v2: Service, method: str, path: str, status: int, sent: dict[str, Any]
) -> None:
    answer = v2.client.request(method, path, **sent)
    failed(answer, status)
    assert (status == 405) == ("allow" in answer.headers)


def test_r13_nobody_is_sent_to_the_host_that_he_named(v2: Service) -> None:
    for method, path in (("GET", "/v2/models/m/"), ("POST", "/v2/models/m/infer/"), ("GET", "/models/m/")):
        answer = v2.client.request(method, path, headers={"host": "elsewhere.example"})
        assert answer.status_code == 404
        assert "elsewhere" not in f"{answer.headers} {answer.text}"


def test_r14_a_graph_that_fails_on_what_was_sent_is_400_and_says_why(v2: Service) -> None:
    assert outputs(infer(v2, pixels(), model="odd", outputs=[{"name": "flat"}]))["flat"] == [0.5] * 3072
    for rows in (0, 2):
        message = failed(infer(v2, pixels(rows), model="odd", outputs=[{"name": "flat"}]), 400)
        assert "Reshape" in message


def test_r14_an_output_that_is_no_tensor_is_400_and_the_others_are_given(v2: Service) -> None:
    failed(infer(v2, pixels(), model="odd"), 400)
    assert "output list" in failed(infer(v2, pixels(), model="odd", outputs=[{"name": "list"}]), 400)
    assert "bfloat16" in failed(infer(v2, pixels(), model="odd", outputs=[{"name": "brain"}]), 400)
    told = {each["name"] for each in document(v2.get("/v2/models/odd"))["outputs"]}
    assert told == {"scores", "flat", "list", "brain"}
    found = outputs(infer(v2, pixels(), model="odd", outputs=[{"name": "scores"}]))
    assert builders.code_of(found["scores"][0]) == 6


def test_r13_other_paths_keep_the_services_own_shape(v2: Service) -> None:
    for path in ("/v3", "/v2x", "/models/nobody"):
        assert set(v2.get(path).json()["error"]) == {"code", "message", "request_id"}


@pytest.mark.parametrize(
    ("image", "status"),
    [(b"GIF89a" + bytes(40), 400), (JPEG[:60], 400), (b"<svg/>", 400)],
)
def test_r14_a_picture_that_cannot_be_read_is_400(v2: Service, image: bytes, status: int) -> None:
    failed(infer(v2, pictures(JPEG, image)), status)
    failed(infer(v2, pictures(image), model="shapes"), status)


def test_r14_a_full_service_says_429_and_a_late_one_504(make_service: Start, store: Store) -> None:
    store.add("v1", 1)
    full = make_service(store.home, OKAWARI_MAX_CONCURRENT_REQUESTS="1", OKAWARI_THREADS="1").ready()
    statuses = asyncio.run(_flood(full.url + asking.path("m")))
    assert set(statuses) <= {200, 429}
    assert statuses.count(429) > 0
    assert statuses.count(200) > 0
    assert full.stop() == 0
    late = make_service(store.home, OKAWARI_REQUEST_TIMEOUT="0.000001").ready()
    assert "time" in failed(infer(late, pixels()), 504)


async def _flood(url: str) -> list[int]:
    body = json.dumps({"inputs": [pictures(*[JPEG] * 32)]}).encode()
    async with httpx.AsyncClient(trust_env=False, timeout=60) as client:
        answers = await asyncio.gather(*(client.post(url, content=body) for _ in range(30)))
    for answer in answers:
        if answer.status_code != 200:
            failed(answer, 429)
            assert answer.headers["retry-after"] == "1"
    return [answer.status_code for answer in answers]


def test_r15_an_unknown_version_is_an_error_and_never_another_version(v2: Service) -> None:
    for version in ("v20", "20", "latest", "v1.0", "0"):
        failed(infer(v2, pixels(), version=version), 404)


# --- the pictures way --------------------------------------------------------------------------


def test_pictures_are_answered_as_predict_answers_them(v2: Service) -> None:
    images = [file.read_bytes() for file in SHAPES]
    found = outputs(infer(v2, pictures(*images), model="shapes", parameters={"threshold": 0.4}))
    assert list(found) == ["num_detections", "boxes", "scores", "label_ids", "labels"]
    told = [v2.predict(image, model="shapes", threshold="0.4").json()["detections"] for image in images]
    most = max(map(len, told))
    assert most > 1
    assert found["num_detections"] == [len(each) for each in told]
    boxes = np.array(found["boxes"]).reshape(3, most, 4)
    scores = np.array(found["scores"]).reshape(3, most)
    ids, labels = np.array(found["label_ids"]).reshape(3, most), np.array(found["labels"]).reshape(3, most)
    for row, detections in enumerate(told):
        count = len(detections)
        assert np.allclose(boxes[row, :count], [each["bbox"] for each in detections], atol=1e-6)
        assert np.allclose(scores[row, :count], [each["score"] for each in detections], atol=1e-6)
        assert ids[row].tolist() == [each["label_id"] for each in detections] + [-1] * (most - count)
        assert labels[row].tolist() == [each["label"] for each in detections] + [""] * (most - count)


def test_pictures_obey_threshold_and_max_detections(v2: Service) -> None:
    sent = pictures(SHAPES[0].read_bytes())
    few = outputs(infer(v2, sent, model="shapes", parameters={"threshold": 0.0, "max_detections": 2}))
    assert few["num_detections"] == [2]
    none = outputs(infer(v2, sent, model="shapes", parameters={"threshold": 1.0}))
    assert (none["num_detections"], none["boxes"]) == ([0], [])
    for wrong in ({"threshold": 1.5}, {"threshold": "x"}, {"max_detections": 0}, {"max_detections": 1.5}):
        failed(infer(v2, sent, model="shapes", parameters=wrong), 400)


def test_pictures_of_an_embedder_become_vectors(v2: Service) -> None:
    found = document(infer(v2, pictures(JPEG, JPEG), model="embed"))["outputs"]
    assert [(each["name"], each["datatype"], each["shape"]) for each in found] == [
        ("embedding", "FP32", [2, 2])
    ]
    assert np.allclose(found[0]["data"], v2.predict(model="embed").json()["embedding"] * 2, atol=1e-6)


def test_too_many_pictures_are_told_how_many_there_may_be(v2: Service) -> None:
    assert len(outputs(infer(v2, pictures(*[JPEG] * 32)))["labels"]) == 32
    assert "32" in failed(infer(v2, pictures(*[JPEG] * 33)), 400)
    for wrong in ({"shape": [1, 1]}, {"shape": [0], "data": []}, {"data": [""]}, {"data": ["not base64!"]}):
        failed(infer(v2, pictures(JPEG) | wrong), 400)


def test_base64_may_have_line_breaks(v2: Service) -> None:
    broken = base64.encodebytes(JPEG).decode()
    assert outputs(infer(v2, pictures(JPEG) | {"data": [broken]})) == outputs(infer(v2, pictures(JPEG)))
