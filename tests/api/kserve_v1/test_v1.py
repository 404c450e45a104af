"""KServe V1 and TensorFlow Serving's REST, on the real service."""

from __future__ import annotations

import base64
import gzip
import json
from typing import Any

import httpx
import pytest

from tests import builders
from tests.api.open_inference.asking import failed, infer, outputs, pictures
from tests.api.open_inference.conftest import MAX_BODY
from tests.e2e.harness import ROOT, Service
from tests.e2e.pictures import picture
from tests.e2e.sizes import LIMIT

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(LIMIT)]

JPEG = picture()
SHAPES = sorted((ROOT / "examples/shapes/pictures").glob("*.jpg"))[:3]


def row(image: bytes = JPEG) -> dict[str, Any]:
    """An instance."""
    return {"image": {"b64": base64.b64encode(image).decode()}}


def predict(service: Service, *rows: Any, model: str = "m", version: str = "", **more: Any) -> httpx.Response:
    """POST a predict request in rows."""
    return service.client.post(path(model, version), json={"instances": list(rows), **more})


def path(model: str = "m", version: str = "", what: str = ":predict") -> str:
    """A path below a model."""
    return f"/v1/models/{model}" + (f"/versions/{version}" if version else "") + what


def found(answer: httpx.Response) -> dict[str, Any]:
    """The body of an answer."""
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/json"
    return dict(answer.json())


def test_each_instance_has_what_predict_finds_in_it(v2: Service) -> None:
    images = [each.read_bytes() for each in SHAPES]
    answer = predict(v2, *map(row, images), model="shapes", parameters={"threshold": 0.4})
    told = [v2.predict(image, model="shapes", threshold="0.4").json() for image in images]
    fields = ("detections", "scores", "image", "embedding")
    document = found(answer)
    assert document["predictions"] == [{name: each[name] for name in fields} for each in told]
    assert document["predictions"][0]["detections"]
    assert (document["model_name"], document["model_version"]) == ("shapes", "v2")
    assert answer.headers["x-model-digest"] == told[0]["model_digest"]


def test_a_column_is_answered_as_a_column_by_the_names_of_the_outputs(v2: Service) -> None:
    images = [each.read_bytes() for each in SHAPES]
    sent = [{"b64": base64.b64encode(each).decode()} for each in images]
    document = found(v2.client.post(path("shapes"), json={"inputs": {"image": sent}}))
    flat = outputs(infer(v2, pictures(*images), model="shapes"))
    assert set(document["outputs"]) == set(flat)
    assert document["outputs"]["num_detections"] == flat["num_detections"]
    for name in ("labels", "scores", "label_ids"):
        assert [value for each in document["outputs"][name] for value in each] == flat[name]
    assert [side for each in document["outputs"]["boxes"] for box in each for side in box] == flat["boxes"]
    assert document["model_version"] == "v2"
    (vector,) = found(v2.client.post(path("embed"), json={"inputs": row()}))["outputs"]
    assert vector == v2.predict(JPEG, model="embed").json()["embedding"]


def test_a_version_is_asked_for_by_name_or_number_and_never_replaced(v2: Service) -> None:
    for version in ("v2", "2"):
        document = found(predict(v2, row(), version=version))
        assert document["model_version"] == "v2"
        assert builders.code_of(document["predictions"][0]["scores"][0]) == 2
    failed(predict(v2, row(), version="v9"), 404)
    failed(predict(v2, row(), version="1"), 400)
    failed(predict(v2, row(), model="nobody"), 404)
    failed(predict(v2, row(), model="bad"), 503)


def test_one_broken_picture_refuses_the_request_and_is_named(v2: Service) -> None:
    for broken in (b"\xff\xd8\xff", b"GIF89a" + bytes(20), b"no picture"):
        told = failed(predict(v2, row(), row(), row(broken), row()), 400)
        assert told.startswith("picture 3 of 4 (index 2): ")
    assert len(found(predict(v2, *[row()] * 32))["predictions"]) == 32
    assert "33" in failed(predict(v2, *[row()] * 33), 400)


def test_models_are_listed_and_their_states_told_in_both_protocols_words(v2: Service) -> None:
    names = found(v2.get("/v1/models"))["models"]
    assert names == found(v2.get("/v2/models"))["models"] == sorted(names)
    assert {"m", "shapes", "bad"} <= set(names)
    model = found(v2.get("/v1/models/m"))
    good = {"error_code": "OK", "error_message": ""}
    assert (model["name"], model["ready"]) == ("m", True)
    first, second = model["model_version_status"]
    assert first == {"version": "v2", "state": "AVAILABLE", "status": good}
    assert (second["version"], second["state"]) == ("v1", "END")
    one = found(v2.get("/v1/models/m/versions/2"))
    assert (one["ready"], one["model_version_status"]) == (True, [first])
    old = found(v2.get("/v1/models/m/versions/v1"))
    assert (old["ready"], old["model_version_status"]) == (False, [second])
    bad = found(v2.get("/v1/models/bad"))
    assert bad["ready"] is False
    assert bad["model_version_status"][0]["state"] == "END"
    assert bad["model_version_status"][0]["status"]["error_code"] != "OK"
    assert "NaN" in bad["model_version_status"][0]["status"]["error_message"]
    failed(v2.get("/v1/models/nobody"), 404)
    failed(v2.get("/v1/models/m/versions/9"), 404)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "/v1/models/m:explain", 501),
        ("POST", "/v1/models/m:classify", 501),
        ("POST", "/v1/models/m/versions/2:regress", 501),
        ("GET", "/v1/models/m/metadata", 501),
        ("GET", "/v1/models/m/versions/2/metadata", 501),
        ("POST", "/v1/models/m/labels/stable:predict", 400),
        ("GET", "/v1/models/m/labels/stable", 400),
        ("GET", "/v1/models/m/x", 404),
        ("GET", "/v1/nothing", 404),
        ("POST", "/v1/models", 405),
    ],
)
def test_what_is_not_here_is_told_in_the_protocols_shape(
    v2: Service, method: str, path: str, status: int
) -> None:
    failed(v2.client.request(method, path), status)


def test_limits_and_codings_are_those_of_v2(v2: Service) -> None:
    body = json.dumps({"instances": [row()]}).encode()
    packed = v2.client.post(path(), content=gzip.compress(body), headers={"content-encoding": "gzip"})
    assert found(packed)["model_version"] == "v2"
    failed(v2.client.post(path(), content=body, headers={"content-encoding": "br"}), 415)
    failed(v2.client.post(path(), content=body, headers={"content-type": "image/jpeg"}), 415)
    failed(v2.client.post(path(), content=b" " * (MAX_BODY + 1)), 413)
    bomb = gzip.compress(b" " * (MAX_BODY + 1))
    failed(v2.client.post(path(), content=bomb, headers={"content-encoding": "gzip"}), 413)
    many = {"instances": [row(SHAPES[0].read_bytes())] * 8}
    wanted = v2.client.post(path("shapes"), json=many, headers={"accept-encoding": "gzip"})
    assert wanted.headers["content-encoding"] == "gzip"
    assert len(found(wanted)["predictions"]) == 8


def test_answers_and_refusals_are_counted_once_for_the_model(v2: Service) -> None:
    def count(status: str) -> float:
        return v2.figure("inference_requests_total", model="embed", status=status)

    good, bad = count("ok"), count("invalid_argument")
    found(predict(v2, row(), row(), model="embed"))
    failed(predict(v2, model="embed"), 400)
    assert (count("ok"), count("invalid_argument")) == (good + 1, bad + 1)
    labels = {"method": "POST", "endpoint": "/v1/models/{name}:predict", "status": "200"}
    assert v2.figure("http_requests_total", **labels) >= 1
