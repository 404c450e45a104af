"""`POST /predict`: three kinds of body, the fields, the answer, and who gave it."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests import builders
from tests.api.shape import refused
from tests.e2e.harness import Service, environment
from tests.e2e.pictures import picture, turned
from tests.e2e.sizes import LIMIT
from tests.e2e.waiting import until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(LIMIT)]

_JPEG = picture(size=(80, 60))
_KEYS = [
    *("request_id", "model", "model_version", "model_digest", "generation", "task"),
    *("detections", "scores", "image", "timings_ms", "embedding"),
]

# In a process of its own: BentoML's client warns and leaves temporary folders behind.
_CLIENT = """
import bentoml, json, pathlib, sys
with bentoml.SyncHTTPClient(sys.argv[1]) as client:
    image = pathlib.Path(sys.argv[2])
    full = client.predict(image=image, model="m", version="2", threshold=0.4)
    short = client.predict(image=image, threshold=0.0, max_detections=1)
print(json.dumps([full, short]))
"""


def _form(api: Service, image: bytes = _JPEG, **fields: Any) -> httpx.Response:
    return api.client.post("/predict", files={"image": ("x.jpg", image)}, data=fields)


def _json(api: Service, image: bytes = _JPEG, **fields: Any) -> httpx.Response:
    return api.client.post("/predict", json={"image": base64.b64encode(image).decode(), **fields})


def _raw(api: Service, image: bytes = _JPEG, **fields: Any) -> httpx.Response:
    return api.predict(image, **fields)


_BODIES = pytest.mark.parametrize("send", [_form, _json, _raw], ids=["form", "json", "raw"])


@_BODIES
def test_every_kind_of_body_gives_the_whole_answer(api: Service, send: Any) -> None:
    answer = send(api, model="m")
    assert answer.status_code == 200, answer.text
    document = answer.json()
    assert list(document) == _KEYS
    assert document["model"] == "m"
    assert document["model_version"] == "v2"
    assert document["model_digest"] == api.states()["v2"]["digest"]
    assert document["generation"] == api.model()["generation"]
    assert document["task"] == "image-classification"
    assert document["detections"] == [
        {"label": "code", "label_id": 0, "score": builders.score_of(2), "bbox": None}
    ]
    assert document["scores"] == [builders.score_of(2)]
    assert document["image"] == {"width": 80, "height": 60}
    timings = document["timings_ms"]
    assert list(timings) == ["queue", "decode", "preprocess", "inference", "postprocess", "total"]
    assert all(value >= 0 for value in timings.values())
    assert timings["total"] >= timings["inference"]
    assert answer.headers["x-request-id"] == document["request_id"]
    assert answer.headers["x-model-name"] == "m"
    assert answer.headers["x-model-version"] == "v2"
    assert answer.headers["x-model-digest"] == document["model_digest"]
    assert answer.headers["content-type"] == "application/json"


@_BODIES
def test_fields_mean_the_same_in_every_kind_of_body(api: Service, send: Any) -> None:
    assert len(send(api, model="m", threshold=0).json()["detections"]) == 2
    assert len(send(api, model="m", threshold=0, max_detections=1).json()["detections"]) == 1
    assert send(api, model="m", threshold=1).json()["detections"] == []
    for version in ("2", "v2", "V2"):
        assert send(api, model="m", version=version).json()["model_version"] == "v2"
    assert send(api, model="other").json()["model"] == "other"
    assert send(api).json()["model"] == "m"


def test_json_takes_a_version_as_number_and_null_as_left_out(api: Service) -> None:
    assert _json(api, version=2).json()["model_version"] == "v2"
    left_out = _json(api, model=None, version=None, threshold=None, max_detections=None)
    assert left_out.json()["model_version"] == "v2"


def test_query_and_body_go_together_and_the_body_wins(api: Service) -> None:
    answer = api.client.post(
        "/predict?model=other&threshold=0", files={"image": ("x.jpg", _JPEG)}, data={"model": "m"}
    )
    assert answer.json()["model"] == "m"
    assert len(answer.json()["detections"]) == 2


@_BODIES
@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"threshold": "1.1"}, "threshold"),
        ({"threshold": "-0.1"}, "threshold"),
        ({"threshold": "nan"}, "threshold"),
        ({"threshold": "much"}, "threshold"),
        ({"max_detections": "0"}, "max_detections"),
        ({"max_detections": "1001"}, "max_detections"),
        ({"max_detections": "1.5"}, "max_detections"),
        ({"max_detections": "1e999"}, "max_detections"),
        ({"model": "x" * 129}, "model"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_a_wrong_field_is_named(api: Service, send: Any, fields: dict[str, str], named: str) -> None:
    assert named in refused(send(api, **fields), 400, "invalid_argument")


@_BODIES
def test_broken_pictures_are_the_clients_fault(api: Service, send: Any) -> None:
    refused(send(api, _JPEG[: len(_JPEG) // 2]), 400, "invalid_image")
    refused(send(api, b"no picture at all"), 400, "invalid_image")
    refused(send(api, b""), 400, "invalid_argument")
    refused(send(api, b"GIF89a" + bytes(100)), 415, "unsupported_media_type")
    refused(send(api, picture("PNG", (1200, 1000))), 422, "image_too_large")


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("text/plain", _JPEG),
        ("application/x-www-form-urlencoded", b"image=x"),
        ("", b"image=x"),
        ("video/mp4", _JPEG),
    ],
)
def test_other_bodies_are_not_read(api: Service, content_type: str, body: bytes) -> None:
    answer = api.client.post("/predict", content=body, headers={"content-type": content_type})
    assert "accepted are" in refused(answer, 415, "unsupported_media_type")


def test_the_picture_must_not_be_a_link(api: Service) -> None:
    """No URL in a request is ever fetched."""
    before = api.figure("http_requests_total", endpoint="/livez")
    link = f"{api.url}/livez"
    raw = {"content": link, "headers": {"content-type": "image/x"}}
    refused(api.client.post("/predict", json={"image": link}), 400, "invalid_argument")
    refused(api.client.post("/predict", files={"image": (None, link)}), 400, "invalid_image")
    refused(api.client.post("/predict", **raw), 400, "invalid_image")
    assert api.figure("http_requests_total", endpoint="/livez") == before


def test_models_and_versions_that_do_not_answer(api: Service) -> None:
    refused(api.predict(model="nobody"), 404, "model_not_found")
    refused(api.predict(model="nobody", version="v1"), 404, "model_not_found")
    refused(api.predict(model="m", version="v9"), 404, "version_not_found")
    refused(api.predict(model="m", version="9"), 404, "version_not_found")
    assert "not loaded" in refused(api.predict(model="m", version="v1"), 409, "version_not_loaded")
    waiting = api.predict(model="bad")
    refused(waiting, 503, "model_not_ready")
    assert waiting.headers["retry-after"] == "1"


@pytest.mark.parametrize("orientation", range(1, 9))
def test_pictures_are_turned_upright_before_they_are_measured(api: Service, orientation: int) -> None:
    answer = api.predict(turned(orientation, (64, 48)))
    upright = (64, 48) if orientation <= 4 else (48, 64)
    assert answer.json()["image"] == {"width": upright[0], "height": upright[1]}


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WebP", "BMP"])
def test_every_format_is_read_whatever_its_content_type_says(api: Service, kind: str) -> None:
    for content_type in ("image/jpeg", "image/x-odd", "application/octet-stream", "IMAGE/PNG; q=1"):
        answer = api.client.post("/predict", content=picture(kind), headers={"content-type": content_type})
        assert answer.status_code == 200, answer.text


def test_bentomls_generated_client_works(api: Service, tmp_path: Path) -> None:
    file = tmp_path / "x.jpg"
    file.write_bytes(_JPEG)
    done = subprocess.run(
        [sys.executable, "-c", _CLIENT, api.url, str(file)],
        env=environment(tmp_path, tmp_path),
        capture_output=True,
        check=True,
        timeout=100,
    )
    full, short = json.loads(done.stdout)
    assert full["model_version"] == "v2"
    assert full["scores"] == [builders.score_of(2)]
    assert len(short["detections"]) == 1


def test_the_callers_request_id_comes_back_if_it_is_harmless(api: Service) -> None:
    for sent in ("cam-7/frame:12", "a" * 128):
        answer = api.client.post("/predict", content=_JPEG, headers={"x-request-id": sent})
        assert answer.headers["x-request-id"] == sent
    for sent in ("a" * 129, "line{}", "spaced out", ""):
        answer = api.client.get("/livez", headers={"x-request-id": sent})
        assert answer.headers["x-request-id"] != sent
        assert len(answer.headers["x-request-id"]) == 32


def test_every_inference_and_every_refusal_is_one_line_of_json(api: Service) -> None:
    good = api.client.post(
        "/predict?model=m", content=_JPEG, headers={"content-type": "image/jpeg", "x-request-id": "log-1"}
    ).json()
    api.client.post(
        "/predict?model=nobody",
        content=_JPEG,
        headers={"content-type": "image/jpeg", "x-request-id": "log-2"},
    )
    line, refusal = _logged(api, "log-1"), _logged(api, "log-2")
    fields = ["request_id", "model_version", "model_digest", "generation", "timings_ms"]
    assert {name: line[name] for name in fields} == {name: good[name] for name in fields}
    assert (line["model_name"], line["num_detections"]) == (good["model"], len(good["detections"]))
    assert line["inference_time_ms"] == good["timings_ms"]["inference"]
    assert line["max_confidence"] == max(good["scores"])
    assert (line["num_images"], line["image_size_bytes"]) == (1, len(_JPEG))
    assert line["timestamp"].endswith("Z")
    assert (line["level"], line["logger"]) == ("INFO", "okawari.inference")
    assert (refusal["code"], refusal["model_name"]) == ("model_not_found", None)


def _logged(api: Service, request_id: str) -> dict[str, Any]:
    """The one line about a request, in the log file."""
    file = api.home / "logs" / "service-1.jsonl"

    def lines() -> list[dict[str, Any]]:
        return [
            line
            for text in file.read_text().splitlines()
            if (line := json.loads(text)).get("request_id") == request_id
        ]

    found = until(lines, f"a line about {request_id}")
    assert len(found) == 1
    return found[0]
