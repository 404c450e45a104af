"""The binary tensor data extension over HTTP, rules B1 to B7, and compressed bodies."""

from __future__ import annotations

import gzip
import json
import zlib

import httpx
import numpy as np
import pytest

from tests.api.open_inference import typed_model
from tests.api.open_inference.asking import (
    HEADER,
    binary,
    document,
    failed,
    infer,
    infer_binary,
    joined,
    outputs,
    packed,
    path,
    pictures,
    pixels,
)
from tests.api.open_inference.conftest import MAX_BODY
from tests.api.open_inference.typed_model import CONSTANTS
from tests.e2e.harness import Service
from tests.e2e.pictures import picture
from tests.e2e.reporting import Start
from tests.e2e.sizes import LIMIT
from tests.e2e.stores import Store
from tests.e2e.waiting import until
from tests.e2e.wire import Wire

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(LIMIT)]

JPEG = picture()
ROWS = np.linspace(0, 1, 2 * 3072, dtype="<f4").reshape(2, 3, 32, 32)
IMAGE = binary("image", "FP32", [2, 3, 32, 32], ROWS.tobytes())
PICTURES = binary("anything", "BYTES", [2], packed(JPEG, JPEG))


def test_b1_json_and_then_the_tensors_both_ways(v2: Service) -> None:
    answer = infer_binary(v2, IMAGE, id="mine", parameters={"binary_data_output": True})
    assert answer.headers["content-type"] == "application/octet-stream"
    found = outputs(answer)
    assert (document(answer)["id"], document(answer)["model_version"]) == ("mine", "v2")
    assert np.allclose(found["scores"], [[0.50048828, 0]] * 2)


def test_b1_the_content_type_may_be_left_out(v2: Service) -> None:
    body, size = joined(IMAGE)
    for kind in ("application/json", "", "application/x-www-form-urlencoded"):
        answer = v2.client.post(path("m"), content=body, headers={HEADER: str(size), "content-type": kind})
        assert answer.status_code == 200, answer.text


def test_b2_each_output_tells_its_size_and_has_no_data(v2: Service) -> None:
    answer = infer_binary(v2, IMAGE, model="types", parameters={"binary_data_output": True})
    told = document(answer)["outputs"]
    assert len(told) == 1 + len(CONSTANTS)
    for each in told:
        assert set(each) == {"name", "datatype", "shape", "parameters"}
        assert set(each["parameters"]) == {"binary_data_size"}


def test_b3_an_output_may_be_asked_for_in_either_form(v2: Service) -> None:
    wanted = [
        {"name": "int8", "parameters": {"binary_data": False}},
        {"name": "int16", "parameters": {"binary_data": True}},
        {"name": "int32"},
    ]
    for everything in (True, False):
        answer = infer(
            v2, pixels(), model="types", outputs=wanted, parameters={"binary_data_output": everything}
        )
        forms = ["data" in each for each in document(answer)["outputs"]]
        assert forms == [True, False, not everything]
        assert {name: np.array(value).tolist() for name, value in outputs(answer).items()} == {
            name: CONSTANTS[name].tolist() for name in ("int8", "int16", "int32")
        }
    for wrong in (1, "true"):
        failed(infer(v2, pixels(), parameters={"binary_data_output": wrong}), 400)
        bad = [{"name": "scores", "parameters": {"binary_data": wrong}}]
        failed(infer(v2, pixels(), outputs=bad), 400)


def test_b4_every_datatype_comes_as_its_bytes(v2: Service) -> None:
    found = outputs(infer_binary(v2, IMAGE, model="types", parameters={"binary_data_output": True}))
    for name, value in CONSTANTS.items():
        if name == "bytes":
            assert found[name].tolist() == ["å".encode(), b""]
        else:
            assert found[name].dtype == value.dtype
            assert np.array_equal(found[name], value, equal_nan=value.dtype.kind == "f"), name


def test_b5_json_and_binary_may_be_mixed(v2: Service) -> None:
    assert outputs(infer(v2, pixels(), parameters={"binary_data_output": True}))["scores"].shape == (1, 2)
    assert isinstance(outputs(infer_binary(v2, IMAGE))["scores"], list)
    # Two inputs in both forms are read, in order, and then refused by the graph, which has one.
    text = {"inputs": [{**pixels(), "name": "other"}, IMAGE[0]]}
    encoded = json.dumps(text).encode()
    headers = {HEADER: str(len(encoded))}
    answer = v2.client.post(path("m"), content=encoded + IMAGE[1], headers=headers)
    assert "there is no input 'other'" in failed(answer, 400)


@pytest.mark.parametrize("size", [0, 24575, 24577, 10**15, -1, 1.5, True, "24576"])
def test_b6_a_size_that_does_not_fit_is_refused(v2: Service, size: object) -> None:
    about, data = IMAGE
    answer = infer_binary(v2, ({**about, "parameters": {"binary_data_size": size}}, data))
    assert ("binary_data_size" in failed(answer, 400)) == (size not in (0, 24575))


def test_b6_nothing_is_read_beyond_what_was_sent(v2: Service) -> None:
    about, data = IMAGE
    failed(infer_binary(v2, (about, data[:-1])), 400)
    failed(infer_binary(v2, (about, data + b"x")), 400)
    failed(infer_binary(v2, ({**about, "data": [1]}, data)), 400)
    failed(infer_binary(v2, ({"name": "image", "datatype": "FP32", "shape": [2, 3, 32, 32]}, data)), 400)
    wrong = packed(JPEG)[:-1]
    failed(infer_binary(v2, binary("image", "BYTES", [1], wrong)), 400)
    failed(infer_binary(v2, binary("image", "BYTES", [2], packed(JPEG))), 400)
    failed(infer_binary(v2, binary("image", "BYTES", [1], b"\xff\xff\xff\xff" + JPEG)), 400)


@pytest.mark.parametrize("header", ["", "x", "-1", "1e3", "99999999999999999999", "0", "10", "٣"])
def test_b6_a_wrong_header_is_refused(v2: Service, header: str) -> None:
    body, _ = joined(IMAGE)
    answer = v2.client.post(path("m"), content=body, headers={HEADER: header.encode()})
    failed(answer, 400)


def test_b6_without_the_header_binary_data_are_not_taken_for_json(v2: Service) -> None:
    body, _ = joined(IMAGE)
    failed(v2.client.post(path("m"), content=body), 400)


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_b6_bodies_may_be_compressed_both_ways(v2: Service, encoding: str) -> None:
    pack = gzip.compress if encoding == "gzip" else zlib.compress
    body, size = joined(IMAGE, parameters={"binary_data_output": True})
    wanted = [{"name": "wide"}]
    plain = outputs(infer_binary(v2, IMAGE, parameters={"binary_data_output": True}))
    headers = {HEADER: str(size), "content-encoding": encoding}
    answer = v2.client.post(path("m"), content=pack(body), headers=headers)
    assert np.array_equal(outputs(answer)["scores"], plain["scores"])
    text = json.dumps({"inputs": [pixels()], "outputs": wanted}).encode()
    answer = v2.client.post(
        path("types"),
        content=pack(text),
        headers={"content-encoding": encoding.upper(), "accept-encoding": encoding},
    )
    assert answer.headers["content-encoding"] == encoding
    assert int(answer.headers["content-length"]) < len(answer.content)
    assert np.allclose(outputs(answer)["wide"], CONSTANTS["wide"].ravel())


def test_b6_who_takes_any_encoding_gets_none(v2: Service) -> None:
    answer = infer(v2, pixels(), model="types", outputs=[{"name": "wide"}])
    assert answer.request.headers["accept-encoding"].count(",")
    assert "content-encoding" not in answer.headers


@pytest.mark.parametrize(
    ("encoding", "body", "status"),
    [
        ("gzip", gzip.compress(bytes(MAX_BODY + 1)), 413),
        ("deflate", zlib.compress(bytes(MAX_BODY + 1)), 413),
        ("gzip", gzip.compress(bytes(MAX_BODY)), 400),
        ("gzip", gzip.compress(b'{"inputs": []}')[:-3], 400),
        ("gzip", gzip.compress(b"{}") + b"more", 400),
        ("gzip", b"", 400),
        ("gzip", b'{"inputs": []}', 400),
        ("deflate", gzip.compress(b"{}"), 400),
        ("gzip, gzip", gzip.compress(gzip.compress(b"{}")), 415),
        ("br", b"x", 415),
    ],
)
def test_b6_a_body_is_expanded_within_the_limit_or_refused(
    v2: Service, encoding: str, body: bytes, status: int
) -> None:
    failed(v2.client.post(path("m"), content=body, headers={"content-encoding": encoding}), status)


def test_b6_what_is_expanded_counts_in_the_bytes_that_a_worker_holds(
    make_service: Start, store: Store
) -> None:
    store.add("v1", 1)
    limits = {"OKAWARI_MAX_BODY_BYTES": "8000000", "OKAWARI_MAX_BUFFERED_BYTES": "8000000"}
    service = make_service(store.home, WORKERS="1", **limits).ready()
    small = gzip.compress(b" " * 7_900_000 + b"{}")
    assert _post(service.url, small) == 400
    with Wire(service) as slow:
        slow.head(path("m"), content_length=1_000_000)
        slow.send(bytes(500_000))
        until(lambda: _post(service.url, small) == 429, "the slow one's bytes have come")
    until(lambda: _post(service.url, small) == 400, "the bytes are given back")
    assert infer(service, pixels()).status_code == 200


def test_b3_an_answer_counts_in_the_bytes_that_a_worker_holds_as_it_is_told(
    make_service: Start, store: Store
) -> None:
    store.take(typed_model.write(store.scratch / "typed"))
    limits = {"OKAWARI_MAX_BODY_BYTES": "1000000", "OKAWARI_MAX_BUFFERED_BYTES": "1000000"}
    service = make_service(store.home, **limits).ready()
    text = json.dumps({"inputs": [pixels()], "outputs": [{"name": "wide"}]})
    body = text + " " * (700_000 - len(text))
    binary = body.replace('{"name": "wide"}', '{"name": "wide", "parameters": {"binary_data": true}}')
    for _ in range(3):  # 200 kB of numbers, about 500 kB as text
        assert service.client.post(path("types"), content=binary).status_code == 200
        failed(service.client.post(path("types"), content=body), 429)
    assert service.client.post(path("types"), content=text).status_code == 200


def _post(url: str, body: bytes) -> int:
    headers = {"content-encoding": "gzip"}
    with httpx.Client(trust_env=False, timeout=60) as client:
        return client.post(url + path("m"), content=body, headers=headers).status_code


def test_b7_pictures_come_as_bytes_of_any_name(v2: Service) -> None:
    answer = infer_binary(v2, PICTURES, parameters={"binary_data_output": True})
    found = outputs(answer)
    assert (found["label_ids"].tolist(), found["labels"].tolist()) == ([[0], [0]], [[b"code"], [b"code"]])
    same = outputs(infer(v2, pictures(JPEG, JPEG)))
    assert np.array_equal(np.array(same["scores"], np.float32), found["scores"].ravel())
