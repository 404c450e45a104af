"""Bodies of V1: every form that clients send is read, and what is wrong is told by its name."""

from __future__ import annotations

import base64
import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from api.kserve_v1 import codec
from hotswap.errors import BadRequest

ONE = base64.b64encode(b"one").decode()


def read(**document: Any) -> codec.V1Request:
    """What a body with these fields says."""
    return codec.parse(json.dumps(document).encode())


def encoded(parsed: codec.V1Request) -> list[bytes | None]:
    """The bytes of the pictures."""
    return [each.encoded for each in parsed.pictures]


FORMS: list[Any] = [
    ONE,
    {"b64": ONE},
    {"image": ONE},
    {"image": {"b64": ONE}},
    {"image_bytes": {"b64": ONE}},
    {"input_tensor": {"b64": ONE}},
    [{"b64": ONE}],
    {"image": [{"b64": ONE}]},
    f"{ONE[:2]}\r\n{ONE[2:]}",
]


@pytest.mark.parametrize("form", FORMS, ids=str)
def test_a_picture_comes_in_many_forms_in_rows_and_in_a_column(form: Any) -> None:
    rows = read(instances=[form, form], signature_name="serving_default", parameters=None)
    assert (encoded(rows), rows.columnar, rows.held) == ([b"one"] * 2, False, 6)
    column = read(inputs=[form, form])
    assert (encoded(column), column.columnar) == ([b"one"] * 2, True)


@pytest.mark.parametrize(
    "inputs", [ONE, {"b64": ONE}, [ONE], {"image": [{"b64": ONE}]}, {"x": {"b64": ONE}}, {"x": ONE}], ids=str
)
def test_a_column_may_be_named_and_one_picture_may_stand_alone(inputs: Any) -> None:
    assert encoded(read(inputs=inputs)) == [b"one"]


def test_options_stand_in_the_parameters() -> None:
    options = read(instances=[ONE], parameters={"threshold": 0.25, "max_detections": 7}).options
    assert (options.threshold, options.max_detections) == (0.25, 7)
    usual = read(instances=[ONE]).options
    assert (usual.threshold, usual.max_detections) == (None, 100)


WRONG: list[tuple[dict[str, Any], str]] = [
    ({}, "instances"),
    ({"instances": [ONE], "inputs": [ONE]}, "instances"),
    ({"instances": [ONE], "threshold": 0.5}, "'threshold'"),
    ({"instances": [ONE], "parameters": {"temperature": 0.5}}, "'temperature'"),
    ({"instances": [ONE], "parameters": {"threshold": 2}}, "threshold"),
    ({"instances": [ONE], "parameters": [1]}, "parameters"),
    ({"instances": [ONE], "signature_name": 7}, "signature_name"),
    ({"instances": []}, "1 to 32"),
    ({"instances": [ONE] * 33}, "found 33"),
    ({"instances": ONE}, "instances"),
    ({"instances": {"image": ONE}}, "instances"),
    ({"instances": None}, "instances"),
    ({"instances": [{}]}, "b64"),
    ({"instances": [None]}, "b64"),
    ({"instances": [[0.5] * 3072]}, "/v2/models"),
    ({"instances": [{"image": [[1, 2], [3, 4]]}]}, "/v2/models"),
    ({"instances": [{"b64": 7}]}, "b64"),
    ({"instances": [{"b64": ""}]}, "empty"),
    ({"instances": [""]}, "empty"),
    ({"instances": ["no base64!"]}, "base64"),
    ({"instances": [{"image": {"b64": ONE}, "threshold": 0.5}]}, "'threshold'"),
    ({"instances": [{"b64": ONE, "max_detections": 1}]}, "'max_detections'"),
    ({"instances": [{"image": {"b64": ONE, "mime": "image/png"}}]}, "'mime'"),
    ({"inputs": {"image": [ONE], "mask": [ONE]}}, "'mask'"),
    ({"inputs": []}, "1 to 32"),
]


@pytest.mark.parametrize(("document", "said"), WRONG, ids=[str(each)[:60] for each, _ in WRONG])
def test_what_is_wrong_is_told_by_its_name(document: dict[str, Any], said: str) -> None:
    with pytest.raises(BadRequest) as caught:
        read(**document)
    assert said in caught.value.message


@pytest.mark.parametrize("broken", ["####", "", {"b64": None}, {"image": {"b64": ONE}, "x": 1}], ids=str)
def test_one_of_several_is_told_by_its_place(broken: Any) -> None:
    with pytest.raises(BadRequest) as caught:
        read(instances=[ONE, ONE, broken, ONE])
    assert caught.value.message.startswith("picture 3 of 4 (index 2): ")


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"7", b"null", b'{"instances": [NaN]}', b"\xff\xfe"])
def test_what_is_no_object_in_json_is_refused(body: bytes) -> None:
    with pytest.raises(BadRequest):
        codec.parse(body)


def test_arrays_of_numbers_are_not_read_in_one_go() -> None:
    with pytest.raises(BadRequest, match="values"):
        codec.parse(b'{"instances": [[' + b"0," * 100_000 + b"0]]}")
    long = base64.b64encode(bytes(500_000)).decode()
    assert encoded(read(instances=[long])) == [bytes(500_000)]


_LEAF = some.none() | some.booleans() | some.floats(allow_nan=False) | some.text() | some.just(ONE)
_KEYS = some.sampled_from(["instances", "inputs", "parameters", "b64", "image", "threshold"]) | some.text()
_ANY = some.recursive(
    _LEAF, lambda inner: some.lists(inner, max_size=4) | some.dictionaries(_KEYS, inner, max_size=4)
)


@pytest.mark.slow
@given(some.dictionaries(_KEYS, _ANY, max_size=4))
def test_any_document_is_read_or_refused(document: dict[str, Any]) -> None:
    with suppress(BadRequest):
        assert 1 <= len(read(**document).pictures) <= 32


@pytest.mark.parametrize(
    "text",
    [
        base64.urlsafe_b64encode(b"\xfb\xff\xfe").decode(),
        base64.b64encode(b"\xfb\xff\xfe").decode() + "\r\n",
        "data:image/jpeg;base64,+//+",
    ],
)
def test_base64_is_read_in_the_forms_that_predict_reads(text: str) -> None:
    parsed = read(instances=[{"b64": text}])
    assert [picture.encoded for picture in parsed.pictures] == [b"\xfb\xff\xfe"]
