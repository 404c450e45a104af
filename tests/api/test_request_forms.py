"""What clients send in other forms than the plain ones: compressed, untyped, as text; and what they hear."""

from __future__ import annotations

import base64
import gzip
import json
import zlib
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from tests.api.conftest import MAX_BODY
from tests.api.shape import refused
from tests.e2e.harness import Service
from tests.e2e.pictures import picture
from tests.e2e.sizes import LIMIT

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(LIMIT)]

_JPEG = picture(size=(80, 60))
_JSON = json.dumps({"image": base64.b64encode(_JPEG).decode()}).encode()
_FORM = (
    b'--x\r\nContent-Disposition: form-data; name="image"; filename="a.jpg"\r\n\r\n'
    + _JPEG
    + b"\r\n--x--\r\n"
)
_BODIES = pytest.mark.parametrize(
    ("kind", "body"),
    [("image/jpeg", _JPEG), ("application/json", _JSON), ("multipart/form-data; boundary=x", _FORM)],
    ids=["raw", "json", "form"],
)


def _raw_deflate(body: bytes) -> bytes:
    pack = zlib.compressobj(wbits=-15)
    return pack.compress(body) + pack.flush()


def _send(
    api: Service, body: bytes, kind: str | None = None, path: str = "/predict", **headers: str
) -> httpx.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return api.client.post(
        path, content=body, headers=named | ({"content-type": kind} if kind is not None else {})
    )


@_BODIES
@pytest.mark.parametrize(
    ("encoding", "pack"),
    [
        ("gzip", gzip.compress),
        ("GZip", gzip.compress),
        ("x-gzip", gzip.compress),
        ("gzip, identity", gzip.compress),
        ("gzip", lambda body: gzip.compress(body[:50]) + gzip.compress(body[50:])),
        ("deflate", zlib.compress),
        ("deflate", _raw_deflate),
        ("identity", bytes),
        ("", bytes),
    ],
)
def test_a_compressed_body_is_the_body(
    api: Service, kind: str, body: bytes, encoding: str, pack: Callable[[bytes], bytes]
) -> None:
    for path in ("/predict", "/predict/annotated"):
        answer = _send(api, pack(body), kind, path, content_encoding=encoding)
        assert answer.status_code == 200, answer.text
        assert answer.headers["x-model-version"] == "v2"


@pytest.mark.parametrize(
    "encoding", ["zstd", "br", "compress", "gzip, gzip", "deflate, gzip", "aes128gcm", "x"]
)
@pytest.mark.parametrize("path", ["/predict", "/predict/annotated"])
def test_an_encoding_that_is_not_read_is_told_with_those_that_are(
    api: Service, encoding: str, path: str
) -> None:
    answer = _send(api, _JPEG, "image/jpeg", path, content_encoding=encoding)
    message = refused(answer, 415, "unsupported_media_type")
    assert "Content-Encoding" in message
    assert "gzip, deflate" in message
    assert answer.headers["accept-encoding"] == "gzip, deflate"
    assert "accept-encoding" not in _send(api, _JPEG, "text/plain", path).headers


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
@pytest.mark.parametrize(
    "cut", [lambda packed: packed[:-9], lambda packed: packed + b"more", lambda _: _JPEG, lambda _: b""]
)
def test_a_damaged_body_is_the_clients_fault(
    api: Service, encoding: str, cut: Callable[[bytes], bytes]
) -> None:
    packed = gzip.compress(_JPEG) if encoding == "gzip" else zlib.compress(_JPEG)
    answer = _send(api, cut(packed), "image/jpeg", content_encoding=encoding)
    assert encoding in refused(answer, 400, "invalid_argument")


@_BODIES
def test_a_body_that_is_too_large_when_it_is_expanded_is_refused(
    api: Service, kind: str, body: bytes
) -> None:
    bomb = gzip.compress(body + bytes(MAX_BODY))
    assert len(bomb) < 100_000
    refused(_send(api, bomb, kind, content_encoding="gzip"), 413, "body_too_large")
    assert _send(api, body, kind).status_code == 200


def test_a_small_body_of_the_management_may_be_compressed_and_is_bounded(api: Service) -> None:
    def put(body: bytes, encoding: str) -> httpx.Response:
        headers = {"content-type": "application/json", "content-encoding": encoding}
        return api.client.put("/models/nobody/target", content=body, headers=headers)

    target = b'{"target": "v1"}'
    refused(put(gzip.compress(target), "gzip"), 404, "model_not_found")
    refused(put(gzip.compress(target)[:-3], "gzip"), 400, "invalid_argument")
    refused(put(gzip.compress(bytes(100_000)), "gzip"), 413, "body_too_large")
    assert put(target, "zstd").headers["accept-encoding"] == "gzip, deflate"


def test_long_text_is_read_beside_who_answers_others(api: Service) -> None:
    """In a thread, whatever the wire's form of it is."""
    large = picture("BMP", (600, 500))
    text = base64.encodebytes(large).decode()
    assert 524_288 < len(text) < MAX_BODY
    for answer in (
        api.client.post("/predict", json={"image": text}),
        api.client.post("/predict", files={"image": (None, text)}),
        api.client.post("/predict", json={"image": "data:image/bmp;base64," + text}),
    ):
        assert answer.json()["image"] == {"width": 600, "height": 500}
    assert "character" in refused(
        api.client.post("/predict", json={"image": text + "*"}), 400, "invalid_argument"
    )


@pytest.mark.parametrize("kind", [None, "", "application/x-www-form-urlencoded"])
def test_who_was_told_no_type_is_understood(api: Service, kind: str | None) -> None:
    for body in (_JPEG, picture("PNG"), picture("WebP"), picture("BMP"), _JSON):
        answer = _send(api, body, kind)
        assert answer.status_code == 200, answer.text
    refused(_send(api, b"\xff" * 100, kind), 400, "invalid_image")
    for text in (b"image=x", b"", b"hello"):
        assert "multipart/form-data" in refused(_send(api, text, kind), 415, "unsupported_media_type")


def test_a_file_under_another_name_is_told_the_right_one(api: Service) -> None:
    for files in (
        {"file": ("a.jpg", _JPEG)},
        [("images[]", ("a.jpg", _JPEG)), ("images[]", ("b.jpg", _JPEG))],
        {"image": ("a.jpg", _JPEG), "mask": ("b.png", _JPEG)},
        {"image": ("", b"")},
    ):
        answer: Any = api.client.post("/predict", files=files)  # type: ignore[arg-type]
        assert "image" in refused(answer, 400, "invalid_argument")


def test_the_protocol_reads_the_same_text(api: Service) -> None:
    forms = [
        base64.urlsafe_b64encode(_JPEG).decode().rstrip("="),
        "data:image/jpeg;base64," + base64.b64encode(_JPEG).decode(),
    ]
    body = {"inputs": [{"name": "image", "datatype": "BYTES", "shape": [2], "data": forms}]}
    assert api.client.post("/v2/models/m/infer", json=body).status_code == 200
    body["inputs"][0]["data"][1] += "*"  # type: ignore[index]
    answer = api.client.post("/v2/models/m/infer", json=body)
    assert answer.status_code == 400
    assert "picture 2 of 2" in answer.json()["error"]
    assert "is '*'" in answer.json()["error"]
