"""The protocol's rules for HTTP, R13 and R14: what failures look like."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx
import pytest

from tests import builders
from tests.api.open_inference import asking
from tests.api.open_inference.asking import document, failed, infer, outputs, pictures, pixels
from tests.e2e.harness import Service
from tests.e2e.pictures import picture
from tests.e2e.reporting import Start
from tests.e2e.sizes import LIMIT
from tests.e2e.stores import Store

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(LIMIT)]

JPEG = picture()


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
        assert set(v2.get(path).json()["error"]) == {"code", "message", "request_id", "transient"}


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
    statuses: set[int] = set()
    while 429 not in statuses:  # one after the other they would all find the place free
        statuses |= set(asyncio.run(_flood(full.url + asking.path("m"))))
        assert {200} <= statuses <= {200, 429}
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
