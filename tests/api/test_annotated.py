"""`POST /predict/annotated`: what `/predict` says, drawn where it says it."""

from __future__ import annotations

import base64
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from random import Random
from typing import Any

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from api.http.image_response import OFFERED
from runners.drawing.palette import GREY, colour_of
from tests.api.shape import refused
from tests.e2e.harness import ROOT, Service, environment
from tests.e2e.odd_pictures import odd_picture
from tests.e2e.pictures import encoded, picture, turned
from tests.e2e.reporting import services
from tests.e2e.sizes import LIMIT
from tests.e2e.stores import Store

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(LIMIT)]

_JPEG = picture(size=(80, 60))
_SHAPES = sorted((ROOT / "examples/shapes/pictures").glob("*.jpg"))
_PATH = "/predict/annotated"

# In a process of its own: BentoML's client warns and leaves temporary folders behind.
_CLIENT = """
import bentoml, pathlib, sys
with bentoml.SyncHTTPClient(sys.argv[1]) as client:
    file = client.predict_annotated(image=pathlib.Path(sys.argv[2]), model="m", threshold=0.4)
    print(pathlib.Path(file).read_bytes()[:3].hex())
"""


@pytest.fixture(scope="module")
def detector(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service with a model that finds boxes."""
    folder = tmp_path_factory.mktemp("detector")
    store = Store(folder / "home", folder)
    store.take(ROOT / "examples/models/shapes/v2")
    with contextmanager(services)() as make:
        yield make(store.home).ready()


def annotated(
    service: Service, image: bytes = _JPEG, accept: str | None = "image/png", **query: Any
) -> httpx.Response:
    headers = {"content-type": "image/jpeg"} | ({} if accept is None else {"accept": accept})
    return service.client.post(_PATH, params=query, content=image, headers=headers)


def opened(answer: httpx.Response) -> NDArray[np.uint8]:
    """The pixels [height, width, 3] of an answer, which is what it says it is."""
    assert answer.status_code == 200, answer.text
    image = Image.open(BytesIO(answer.content))
    assert (image.get_format_mimetype(), image.mode) == (answer.headers["content-type"], "RGB")
    return np.asarray(image)


@pytest.mark.parametrize("file", _SHAPES, ids=lambda file: file.stem)
def test_boxes_stand_where_the_json_answer_says(detector: Service, file: Path) -> None:
    data = file.read_bytes()
    told = detector.predict(data, threshold=0.5).json()["detections"]
    assert told
    after = opened(annotated(detector, data, threshold=0.5))
    before = np.asarray(Image.open(file).convert("RGB"))
    height, width, _ = before.shape
    assert after.shape == before.shape
    for each in told:
        left, top, right, bottom = (
            round(side * length) for side, length in zip(each["bbox"], (width, height) * 2, strict=True)
        )
        frame = np.concatenate(
            [
                after[top:bottom, left],
                after[top:bottom, right - 1],
                after[top, left:right],
                after[bottom - 1, left:right],
            ]
        )
        # The rest lies under labels and better boxes.
        assert (frame == colour_of(each["label"])).all(axis=1).mean() > 0.5
    assert 0.01 < (after != before).any(axis=2).mean() < 0.6


def test_the_threshold_and_the_number_of_detections_hold(detector: Service) -> None:
    data = _SHAPES[0].read_bytes()
    best, *others = detector.predict(data, threshold=0.3).json()["detections"]
    assert others
    before = np.asarray(Image.open(BytesIO(data)).convert("RGB"))
    one = opened(annotated(detector, data, threshold=0.3, max_detections=1))
    colours = {tuple(pixel) for pixel in one[(one != before).any(axis=2)].tolist()}
    assert colour_of(best["label"]) in colours
    assert not {colour_of(each["label"]) for each in others} - {colour_of(best["label"])} & colours


def test_nothing_found_is_a_picture_with_a_remark(detector: Service) -> None:
    after = opened(annotated(detector, picture("PNG", (320, 240)), threshold=1))
    assert tuple(after[0, 0]) == GREY
    assert (after[60:] == (90, 120, 60)).all()


def test_labels_of_the_whole_picture_stand_in_a_corner(api: Service) -> None:
    after = opened(annotated(api, picture("PNG", (320, 240)), model="m", threshold=0))
    assert tuple(after[0, 0]) == colour_of("code")
    assert colour_of("other") in {tuple(row) for row in after[:60, 0].tolist()}
    assert (after[60:] == (90, 120, 60)).all()


@pytest.mark.parametrize("kind", ["form", "json", "raw"])
def test_every_kind_of_body_is_answered_with_who_answered(api: Service, kind: str) -> None:
    bodies: dict[str, dict[str, Any]] = {
        "form": {"files": {"image": ("x.jpg", _JPEG)}, "data": {"model": "m", "version": "2"}},
        "json": {"json": {"image": base64.b64encode(_JPEG).decode(), "model": "m", "version": 2}},
        "raw": {
            "content": _JPEG,
            "params": {"model": "m", "version": "v2"},
            "headers": {"content-type": "image/jpeg"},
        },
    }
    answer = api.client.post(_PATH, **bodies[kind])
    assert answer.headers["content-type"] == "image/jpeg"
    assert opened(answer).shape == (60, 80, 3)
    told = api.predict(model="m")
    names = ("x-model-name", "x-model-version", "x-model-digest", "x-model-generation")
    assert [answer.headers[name] for name in names] == [told.headers[name] for name in names]
    assert answer.headers["x-model-generation"] == str(told.json()["generation"])
    assert answer.headers["vary"] == "Accept"
    assert len(answer.headers["x-request-id"]) == 32


@pytest.mark.parametrize(
    ("accept", "media_type"),
    [
        (None, "image/jpeg"),
        ("*/*", "image/jpeg"),
        ("image/png", "image/png"),
        ("image/webp", "image/webp"),
        ("image/jpeg;q=0.1, image/webp;q=0.2", "image/webp"),
        ("text/html, image/avif, image/webp, */*;q=0.8", "image/webp"),
        ("image/jpeg;q=0, image/*", "image/png"),
    ],
)
def test_the_caller_chooses_the_format(api: Service, accept: str | None, media_type: str) -> None:
    answer = annotated(api, accept=accept)
    assert answer.headers["content-type"] == media_type
    assert opened(answer).shape == (60, 80, 3)


def test_nothing_acceptable_is_told_with_what_is_offered(api: Service) -> None:
    answer = annotated(api, accept="application/json, image/gif")
    message = refused(answer, 406, "not_acceptable")
    assert all(media_type in message for media_type in OFFERED)
    assert answer.headers["vary"] == "Accept"
    # It is told before the body is read, and the connection serves on.
    refused(annotated(api, bytes(1_900_000), "image/gif"), 406, "not_acceptable")
    assert annotated(api).status_code == 200


_WRONG: list[dict[str, Any]] = [
    {"image": _JPEG[: len(_JPEG) // 2]},
    {"image": b"no picture at all"},
    {"image": b""},
    {"image": b"GIF89a" + bytes(100)},
    {"image": picture("PNG", (1200, 1000))},
    {"image": bytes(2_100_000)},
    {"threshold": "nan"},
    {"max_detections": "0"},
    {"colour": "red"},
    {"model": "nobody"},
    {"model": "bad"},
    {"version": "v9"},
    {"version": "v1"},
]


@pytest.mark.parametrize("wrong", _WRONG, ids=range(len(_WRONG)))
def test_what_is_wrong_is_told_as_predict_tells_it(api: Service, wrong: dict[str, Any]) -> None:
    image, fields = wrong.get("image", _JPEG), {name: wrong[name] for name in wrong if name != "image"}
    plain, drawn = api.predict(image, **fields), annotated(api, image, **fields)
    error = plain.json()["error"]
    assert refused(drawn, plain.status_code, error["code"]) == error["message"]
    assert plain.status_code >= 400


@pytest.mark.parametrize(("content_type", "body"), [("text/plain", _JPEG), ("application/json", b"{")])
def test_other_bodies_are_refused_as_predict_refuses_them(
    api: Service, content_type: str, body: bytes
) -> None:
    headers = {"content-type": content_type}
    plain = api.client.post("/predict", content=body, headers=headers)
    drawn = api.client.post(_PATH, content=body, headers=headers)
    assert refused(drawn, plain.status_code, plain.json()["error"]["code"])


def test_a_picture_that_no_wanted_format_can_hold_is_too_large(api: Service) -> None:
    wide = picture("PNG", (17_000, 9))
    assert "16383 per side" in refused(annotated(api, wide, "image/webp"), 422, "image_too_large")
    assert opened(annotated(api, wide, "image/webp, */*;q=0.1")).shape == (9, 17_000, 3)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_pictures_are_drawn_upright(api: Service, orientation: int) -> None:
    after = opened(annotated(api, turned(orientation, (64, 48))))
    assert after.shape == ((48, 64, 3) if orientation <= 4 else (64, 48, 3))


@pytest.mark.parametrize("mode", ["L", "P", "LA", "RGBA", "CMYK"])
@pytest.mark.parametrize("accept", OFFERED)
def test_pictures_of_every_kind_are_answered_in_every_format(api: Service, mode: str, accept: str) -> None:
    image = Image.new("RGB", (64, 48), (90, 120, 60)).convert(mode)
    assert opened(annotated(api, encoded(image, "JPEG" if mode == "CMYK" else "PNG"), accept)).size


def test_odd_pictures_are_drawn_or_refused_as_predict_refuses_them(api: Service) -> None:
    seen: Counter[int] = Counter()
    for seed in range(200):
        data = odd_picture(Random(seed))
        plain, drawn = api.predict(data), annotated(api, data, "image/webp;q=0.5, image/*;q=0.1")
        seen[plain.status_code] += 1
        if plain.status_code == 200:
            assert opened(drawn).size, seed
        else:
            assert plain.status_code < 500, seed
            error = plain.json()["error"]
            assert refused(drawn, plain.status_code, error["code"]) == error["message"], seed
    assert min(seen[status] for status in (200, 400, 415, 422)) > 0, seen


def test_a_photograph_of_12_megapixels_comes_back_whole(detector: Service) -> None:
    scene = Image.open(_SHAPES[0]).convert("RGB").resize((4000, 3000))
    data = encoded(scene, "JPEG", quality=90)
    told = detector.predict(data).json()["detections"]
    after = opened(annotated(detector, data))
    assert after.shape == (3000, 4000, 3)
    left, top, right, bottom = told[0]["bbox"]
    middle = after[round((top + bottom) * 1500), round(left * 4000)]
    assert tuple(middle) in {colour_of(each["label"]) for each in told}
    assert right > left


def test_it_counts_as_a_prediction_and_by_its_own_route(api: Service) -> None:
    answered = {"model": "other", "status": "ok"}
    before = api.figure("inference_requests_total", **answered)
    routed = api.figure("http_requests_total", endpoint=_PATH, status="200")
    annotated(api, model="other")
    annotated(api, model="nobody")
    assert api.figure("inference_requests_total", **answered) == before + 1
    assert api.figure("http_requests_total", endpoint=_PATH, status="200") == routed + 1
    assert api.figure("http_requests_total", endpoint=_PATH, status="404") >= 1


def test_it_is_documented_with_its_formats(api: Service) -> None:
    document = api.get("/docs.json").json()
    plain, drawn = (document["paths"][path]["post"] for path in ("/predict", _PATH))
    assert set(drawn["responses"]["200"]["content"]) == set(OFFERED)
    assert drawn["requestBody"] == plain["requestBody"]
    assert drawn["parameters"] == plain["parameters"]
    assert set(drawn["responses"]) == {*plain["responses"], "406"}
    assert drawn["operationId"] != plain["operationId"]


def test_bentomls_generated_client_gets_a_file(api: Service, tmp_path: Path) -> None:
    file = tmp_path / "x.jpg"
    file.write_bytes(_JPEG)
    done = subprocess.run(
        [sys.executable, "-c", _CLIENT, api.url, str(file)],
        env=environment(tmp_path, tmp_path),
        capture_output=True,
        check=True,
        timeout=100,
        text=True,
    )
    assert done.stdout.strip() == "ffd8ff"


def test_a_picture_that_there_is_no_room_for_is_no_answer(tmp_path: Path) -> None:
    store = Store(tmp_path / "home", tmp_path)
    store.add("v1", 1)
    noise = np.random.default_rng(0).integers(0, 256, (800, 800, 3), np.uint8)
    room = {"OKAWARI_MAX_BUFFERED_BYTES": "1000000", "OKAWARI_MAX_BODY_BYTES": "1000000"}
    with contextmanager(services)() as make:
        service = make(store.home, WORKERS="1", **room).ready()
        refused(annotated(service, encoded(Image.fromarray(noise), "JPEG")), 429, "overloaded")
        assert service.figure("inference_requests_total", status="overloaded") == 1
        assert service.figure("inference_requests_total", status="ok") == 0
