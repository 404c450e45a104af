"""Infer requests as bytes: whatever they are, they are read or refused."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as some

from api.budget import ByteBudget
from api.http.body import BoundedReceive
from api.open_inference.http_codec import encode, json_size, parse, weight
from api.open_inference.types import InferResponse, Tensor, check_parameter
from hotswap.errors import BadRequest, Overloaded

_JSON = some.recursive(
    some.none() | some.booleans() | some.integers() | some.floats(allow_nan=False) | some.text(max_size=5),
    lambda inner: some.lists(inner, max_size=4) | some.dictionaries(some.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)
_FIELDS = ("name", "shape", "datatype", "data", "parameters")
_INPUT: dict[str, Any] = {"name": "x", "shape": [2], "datatype": "FP32", "data": [1, 2]}


@given(some.binary(max_size=200), some.integers(0, 200))
def test_any_bytes_are_read_or_refused(body: bytes, size: int) -> None:
    try:
        parse(body, min(size, len(body)))
    except BadRequest:
        return


@pytest.mark.slow
@given(some.sampled_from(_FIELDS), _JSON, some.binary(max_size=16))
def test_any_value_of_a_field_is_read_or_refused(field: str, value: Any, rest: bytes) -> None:
    try:
        text = json.dumps({"inputs": [{**_INPUT, field: value}]}).encode()
        parsed = parse(text + rest, len(text))
    except BadRequest:
        return
    (tensor,) = parsed.inputs
    if isinstance(tensor.data, np.ndarray):
        assert tensor.data.shape == tensor.shape


@pytest.mark.slow
@given(some.sampled_from(("id", "parameters", "inputs", "outputs", "more")), _JSON)
def test_any_value_of_a_part_is_read_or_refused(part: str, value: Any) -> None:
    text = json.dumps({"inputs": [_INPUT], part: value}).encode()
    try:
        parse(text, len(text))
    except BadRequest:
        return


@pytest.mark.parametrize("header", ["", "-1", "+1", "1.0", "x", "11", "²", "0x1", " 1", "1" * 5000])
def test_the_header_is_a_number_within_the_body(header: str) -> None:
    with pytest.raises(BadRequest, match="Inference-Header-Content-Length"):
        json_size(header, 10)
    assert (json_size(None, 10), json_size("0", 10), json_size("10", 10)) == (10, 0, 10)


def test_arrays_lie_in_the_body_itself_and_are_counted_where_they_do_not() -> None:
    about = {"name": "x", "shape": [4], "datatype": "UINT8", "parameters": {"binary_data_size": 4}}
    text = json.dumps({"inputs": [about]}).encode()
    binary = parse(text + b"abcd", len(text))
    assert binary.held == 0
    text = json.dumps({"inputs": [{**_INPUT, "datatype": "FP64"}]}).encode()
    assert parse(text, len(text)).held == 16
    text = json.dumps({"inputs": [{**_INPUT, "datatype": "BYTES", "data": ["YWI=", "Yw=="]}]}).encode()
    assert parse(text, len(text)).held == 3


_OUTPUTS = some.lists(
    some.builds(
        lambda name, values: Tensor.of(name, np.array(values, np.float32)),
        some.text(min_size=1, max_size=5),
        some.lists(some.floats(-1e6, 1e6, width=32), max_size=5),
    ),
    min_size=1,
    max_size=4,
    unique_by=lambda each: each.name,
)


@pytest.mark.slow
@given(_OUTPUTS, some.sets(some.integers(0, 3)))
def test_an_answer_says_the_same_in_either_form(outputs: list[Tensor], binary: set[int]) -> None:
    response = InferResponse(model="m", version="v1", id=None, parameters={}, outputs=tuple(outputs))
    names = {outputs[index].name for index in binary if index < len(outputs)}
    body, headers = encode(response, names.__contains__)
    size = int(headers.get("Inference-Header-Content-Length", len(body)))
    rest = body[size:]
    for sent, told in zip(outputs, json.loads(body[:size])["outputs"], strict=True):
        if told["name"] in names:
            length = told["parameters"]["binary_data_size"]
            found, rest = np.frombuffer(rest[:length], np.float32), rest[length:]
        else:
            found = np.array(told["data"], np.float32)
        assert (told["name"], told["shape"]) == (sent.name, list(sent.shape))
        assert np.array_equal(found, np.asarray(sent.data))
    assert rest == b""
    assert weight(response) == sum(np.asarray(each.data).nbytes for each in outputs)


def test_what_is_made_of_a_body_is_given_back_with_it_and_not_taken_after_the_end() -> None:
    store = ByteBudget(100)
    bounded = BoundedReceive({"headers": []}, _nothing, 100, store)
    bounded.hold(60)
    with pytest.raises(Overloaded):
        bounded.hold(41)
    assert store.held == 60
    bounded.release()
    with pytest.raises(Overloaded, match="ended"):
        bounded.hold(1)
    assert store.held == 0


async def _nothing() -> dict[str, Any]:
    return {}


@pytest.mark.parametrize(("value", "end"), [([[0.5, 0.5, 1]], "; send a list as its JSON text"), ({}, "")])
def test_a_parameter_that_is_no_single_value_says_how_to_send_it(value: Any, end: str) -> None:
    with pytest.raises(BadRequest, match=f"'points': must be a string, a number or a boolean{end}$"):
        check_parameter("parameters", "points", value)
