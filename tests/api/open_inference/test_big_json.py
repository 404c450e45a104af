"""Long arrays of numbers in JSON: read piece by piece they are what a parser would have read at once."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as how
from hypothesis import strategies as some

from api.open_inference import tensors
from api.open_inference.http_codec import Parsed, parse
from hotswap.errors import BadRequest

DATATYPES = ["FP32", "FP64", "INT8", "UINT64", "INT64"]


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything is long, and pieces are so short that numbers are cut anywhere."""
    monkeypatch.setattr(tensors, "PIECE", 7)
    monkeypatch.setattr(tensors, "LONG", 3)


def read(text: str | bytes, shape: list[int], datatype: str = "FP32") -> Parsed:
    """Parse a request whose data are this text."""
    about = {"name": "x", "datatype": datatype, "shape": shape, "data": "DATA"}
    whole = json.dumps({"inputs": [about], "outputs": [{"name": "y"}]}).encode()
    body = whole.replace(b'"DATA"', text if isinstance(text, bytes) else text.encode())
    return parse(body, len(body))


def outcome(text: str, shape: list[int], datatype: str) -> tuple[str, Any]:
    """What comes of it: the elements, or that it was refused."""
    try:
        (tensor,) = read(text, shape, datatype).inputs
    except BadRequest:
        return "refused", None
    assert isinstance(tensor.data, np.ndarray)
    return str(tensor.data.dtype), tensor.data.tolist()


_SHAPES = some.lists(some.integers(1, 4), min_size=1, max_size=4)
_NUMBERS = some.one_of(some.integers(-(2**63), 2**64 - 1), some.floats(-1e30, 1e30), some.integers(-5, 5))


@pytest.mark.slow
@given(shape=_SHAPES, data=some.data())
@how(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_numbers_are_the_same_read_at_once_and_in_pieces(
    monkeypatch: pytest.MonkeyPatch, shape: list[int], data: some.DataObject
) -> None:
    count = math.prod(shape)
    numbers = data.draw(some.lists(_NUMBERS, min_size=count, max_size=count))
    datatype = data.draw(some.sampled_from(DATATYPES))
    nested = np.array(numbers, object).reshape(shape).tolist()
    text = json.dumps(data.draw(some.sampled_from([numbers, nested])), indent=data.draw(some.integers(0, 2)))
    with monkeypatch.context() as patch:
        patch.setattr(tensors, "PIECE", 7)
        patch.setattr(tensors, "LONG", 3)
        pieces = outcome(text, shape, datatype)
    assert pieces == outcome(text, shape, datatype)


@given(shape=_SHAPES, text=some.text("[],,1 2.-e", max_size=24))
@how(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_is_refused_at_once_is_refused_in_pieces(
    monkeypatch: pytest.MonkeyPatch, shape: list[int], text: str
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(tensors, "PIECE", 5)
        patch.setattr(tensors, "LONG", 1)
        pieces = outcome(f"[{text}]", shape, "FP32")
    assert pieces == outcome(f"[{text}]", shape, "FP32")


@pytest.mark.parametrize(
    ("text", "shape"),
    [
        ("[1 2,3]", [2]),
        ("[1,,2]", [3]),
        ("[1[]]", [1, 1]),
        ("[[]1]", [1, 1]),
        ("[[1,2],[3]4,[]]", [3, 2]),
        ("[[1,  2]  3]", [1, 2]),
        ("[1,2,]", [3]),
        ("[,1,2]", [3]),
        ("[1,2]]", [2]),
        ("[[1,2]", [2]),
        ("[1,[2,3]]", [3]),
        ("[[1,2],[3]]", [3]),
        ("[[1,2,3],[4]]", [2, 2]),
        ("[[1],[2],[3],[4]]", [2, 2]),
        ("[[[1,2,3,4]]]", [4]),
        ("[1,2,3", [3]),
        ("[1,2,-]", [3]),
        ("[1,2,1e999]", [3]),
        ("[1,2,3]", [4]),
        ("[1,2,3]", [2**20, 2**20]),
        ("[1,2,3]", [0]),
        ("[[],[]]", [0, 0]),
    ],
)
def test_no_other_text_is_taken_for_numbers(small: None, text: str, shape: list[int]) -> None:
    with pytest.raises(BadRequest):
        read(text, shape)


def test_a_name_that_only_ends_like_the_field_is_left_alone(small: None) -> None:
    body = rb'{"inputs":[{"name":"x","datatype":"FP32","shape":[4],"\"data":[9,9,9,9],"data":[1,2,3,4]}]}'
    (tensor,) = parse(body, len(body)).inputs
    assert np.array_equal(tensor.data, [1, 2, 3, 4])


@pytest.mark.parametrize("piece", [3, 4, 5, 64])
def test_an_array_ends_with_its_last_bracket_wherever_pieces_end(
    small: None, monkeypatch: pytest.MonkeyPatch, piece: int
) -> None:
    monkeypatch.setattr(tensors, "PIECE", piece)
    for blank in range(12):
        body = b'{"inputs":[{"name":"x","datatype":"FP32","shape":[2,2],"data":[[1,2],[3,4]]%b,"id":[]}]}'
        (tensor,) = parse(body % (b" " * blank), len(body) - 2 + blank).inputs
        assert np.array_equal(tensor.data, [[1, 2], [3, 4]])


def test_an_array_that_never_ends_is_no_json(small: None) -> None:
    for text in ("[1,2,3,4", "[", "[1,2,3,4,", "[1,[2,3],4"):
        body = b'{"inputs":[{"name":"x","datatype":"FP32","shape":[4],"data":' + text.encode()
        for end in (b"", b"}]}", b',"data":[1,2,3,4]}]}'):
            with pytest.raises(BadRequest, match="not JSON"):
                parse(body + end, len(body + end))


def test_many_arrays_that_are_hardly_long_are_read_each_as_its_own() -> None:
    data = b"[%b]" % b",".join([b"0.5"] * 1_100)
    inputs = [b'{"name":"%d","datatype":"FP32","shape":[1100],"data":%b}' % (n, data) for n in range(256)]
    body = b'{"inputs":[%b]}' % b",".join(inputs)
    found = parse(body, len(body)).inputs
    assert [each.name for each in found] == [f"{n}" for n in range(256)]
    assert all(np.array_equal(each.data, [0.5] * 1_100) for each in found)


@pytest.mark.parametrize("part", ["parameters", "more"])
def test_a_long_array_elsewhere_is_not_taken_for_something_else(small: None, part: str) -> None:
    known = {"name": "x", "datatype": "FP32", "shape": [4], "data": [1, 2, 3, 4]}
    body = json.dumps({"inputs": [known], part: {"data": [1, 2, 3, 4]}}).encode()
    with pytest.raises(BadRequest, match="belongs to no input"):
        parse(body, len(body))


def test_nobody_can_name_an_array_of_another_input(small: None) -> None:
    body = (
        b'{"inputs":[{"name":"x","datatype":"FP32","shape":[4],"data":[1,2,3,4]},'
        b'{"name":"y","datatype":"FP32","shape":[4],"data":"0:0"}]}'
    )
    with pytest.raises(BadRequest, match="must be an array"):
        parse(body, len(body))


def test_arrays_are_looked_for_no_more_often_than_there_may_be_inputs(
    small: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tensors, "_MOST_FIELDS", 2)
    inputs = [{"name": n, "datatype": "FP32", "shape": [4], "data": [1, 2, 3, 4]} for n in "xyz"]
    body = json.dumps({"inputs": inputs}).encode()
    assert len(tensors.loads(body, len(body))[1]) == 2
    assert [np.asarray(each.data).tolist() for each in parse(body, len(body)).inputs] == [[1, 2, 3, 4]] * 3


def test_numbers_are_not_texts(small: None) -> None:
    with pytest.raises(BadRequest, match="BYTES takes string"):
        read("[1,2,3]", [3], "BYTES")


def test_millions_of_values_elsewhere_are_refused_before_they_are_made() -> None:
    body = b'{"inputs":[],"parameters":[%b]}' % b",".join([b"{}"] * 200_000)
    with pytest.raises(BadRequest, match="binary tensor data"):
        parse(body, len(body))


def test_a_long_array_is_read_and_written_as_it_is() -> None:
    values = np.random.default_rng(1).random((100, 20, 50), np.float32)
    for text in (tensors.written("x", values), json.dumps(values.tolist()).encode()):
        (tensor,) = read(text, [100, 20, 50]).inputs
        assert np.array_equal(tensor.data, values)
