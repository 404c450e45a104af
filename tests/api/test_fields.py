"""The fields of a predict request, wherever they stand."""

from __future__ import annotations

import base64
import json
import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from api.errors import UnsupportedMediaType
from api.predict_fields import NAMES, PredictFields, is_long, parse
from hotswap.errors import BadPicture, BadRequest, ServingError
from hotswap.predictions import Options
from tests.e2e.sizes import SIZES

_PICTURE = b"\xff\xd8picture"
_TYPES = ["application/json", "image/jpeg", "application/octet-stream", "multipart/form-data; boundary=x"]
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
)


def _json(**fields: Any) -> PredictFields:
    body = {"image": base64.b64encode(_PICTURE).decode(), **fields}
    return parse("application/json", {}, json.dumps(body).encode())


def _form(**fields: str) -> PredictFields:
    parts = [
        f'--x\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
        for name, value in fields.items()
    ]
    body = "".join(parts).encode() + b'--x\r\nContent-Disposition: form-data; name="image"\r\n\r\n' + _PICTURE
    return parse("multipart/form-data; boundary=x", {}, body + b"\r\n--x--")


def test_left_out_fields_have_their_defaults() -> None:
    plain = PredictFields(_PICTURE, None, None, Options(None, 100))
    assert parse("image/jpeg", {}, _PICTURE) == _json() == _form() == plain
    assert _json(model=None, version=None, threshold=None, max_detections=None) == plain
    assert _form(model="", version="null", threshold="", max_detections="null") == plain


def test_form_values_may_be_json_as_bentomls_client_sends_them() -> None:
    read = _form(model='"m"', version='"2"', threshold="0.4", max_detections="7")
    assert read == PredictFields(_PICTURE, "m", "2", Options(0.4, 7))
    assert _form(model='"').model == '"'
    assert _form(model='"a"b"').model == '"a"b"'


def test_the_body_overrules_the_query_whose_fields_must_be_right_all_the_same() -> None:
    body = json.dumps({"image": base64.b64encode(_PICTURE).decode(), "version": "v2"}).encode()
    assert parse("application/json", {"version": "v1"}, body).version == "v2"
    with pytest.raises(BadRequest, match="version"):
        parse("application/json", {"version": "v" * 129}, body)


def test_a_version_may_be_a_number_in_json_and_nothing_else() -> None:
    assert _json(version=3).version == "3"
    for wrong in (True, 1.5, [], {}):
        with pytest.raises(BadRequest, match="version"):
            _json(version=wrong)


@pytest.mark.parametrize("value", [0, 1, 0.25, "0.25", "1e-3"])
def test_thresholds(value: Any) -> None:
    assert _json(threshold=value).options.threshold == float(value)


@pytest.mark.parametrize("value", [-0.01, 1.01, "nan", "inf", "1e999", True, [], {}, "0x1", "0,5"])
def test_thresholds_that_are_none(value: Any) -> None:
    with pytest.raises(BadRequest, match="threshold"):
        _json(threshold=value)


@pytest.mark.parametrize("value", [0, 1001, -1, 1.5, "1.5", "nan", "1e999", True, [1], 10**30, "9" * 5000])
def test_counts_that_are_none(value: Any) -> None:
    with pytest.raises(BadRequest, match="max_detections"):
        _json(max_detections=value)


def test_fields_that_do_not_exist_are_refused_wherever_they_stand() -> None:
    for refused in (
        lambda: _json(colour="red"),
        lambda: _form(colour="red"),
        lambda: parse("image/jpeg", {"colour": "red"}, _PICTURE),
        lambda: parse("image/jpeg", {"image": "x"}, _PICTURE),
    ):
        with pytest.raises(BadRequest, match="unknown field"):
            refused()


def test_a_field_that_comes_twice_in_a_form_is_refused() -> None:
    part = b'--x\r\nContent-Disposition: form-data; name="%b"\r\n\r\ny\r\n'
    for name in (b"model", b"image"):
        with pytest.raises(BadRequest, match=f"duplicate field: {name.decode()}"):
            parse("multipart/form-data; boundary=x", {}, part % name * 2 + b"--x--")


def _parts(*parts: tuple[str, str | None, bytes]) -> PredictFields:
    """A form of parts: name, name of the file or None, content."""
    body = b""
    for name, file, content in parts:
        filename = "" if file is None else f'; filename="{file}"'
        body += f'--x\r\nContent-Disposition: form-data; name="{name}"{filename}\r\n\r\n'.encode()
        body += content + b"\r\n"
    return parse("multipart/form-data; boundary=x", {}, body + b"--x--")


@pytest.mark.parametrize("name", ["file", "img", "picture", "upload", "images[]", "Image", "image ", "", "é"])
def test_a_file_under_another_name_is_told_the_right_one(name: str) -> None:
    for parts in (
        [(name, "a.jpg", _PICTURE)],
        [(name, None, _PICTURE)],
        [("model", None, b"m"), (name, "a.jpg", _PICTURE)],
        [(name, "a.jpg", _PICTURE), ("image", "b.jpg", _PICTURE)],
    ):
        with pytest.raises(BadRequest) as refused:
            _parts(*parts)
        assert refused.value.code == "invalid_argument"
        assert repr(name) in refused.value.message
        assert "image" in refused.value.message.replace(repr(name), "")
        assert "UTF-8" not in refused.value.message


def test_many_files_are_named_in_bounded_words() -> None:
    with pytest.raises(BadRequest) as refused:
        _parts(*((f"{index}" * 2000, "x" * 2000, _PICTURE) for index in range(9)))
    assert len(refused.value.message) < 1500
    assert "and 5 more" in refused.value.message


@pytest.mark.parametrize(
    "parts",
    [
        [],
        [("model", None, b"m")],
        [("image", "", b"")],
        [("image", "a.jpg", b"")],
        [("image", None, b"")],
        [("model", "a.jpg", _PICTURE)],
        [("model", "a.jpg", _PICTURE), ("image", "a.jpg", _PICTURE)],
    ],
)
def test_a_form_without_a_picture_names_the_field(parts: list[tuple[str, str | None, bytes]]) -> None:
    with pytest.raises(BadRequest, match="image") as refused:
        _parts(*parts)
    assert refused.value.code == "invalid_argument"


def test_several_pictures_in_one_form_are_refused() -> None:
    with pytest.raises(BadRequest, match="duplicate field: image; send it once"):
        _parts(("image", "a.jpg", _PICTURE), ("image", "b.jpg", _PICTURE))


@pytest.mark.parametrize("head", ["", "data:image/jpeg;base64,"])
@pytest.mark.parametrize("file", [None, "a.txt"])
def test_base64_in_a_form_is_read(head: str, file: str | None) -> None:
    assert _parts(("image", file, head.encode() + base64.b64encode(_PICTURE))).image == _PICTURE


def test_other_text_in_a_form_is_no_picture() -> None:
    with pytest.raises(BadPicture, match="character 4 is ':'"):
        _parts(("image", None, b"http://camera/1.jpg"))


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{", b'"x"', b"{}", b'{"image": 5}', b'{"image": "*"}', b"[" * 5000]
)
def test_json_that_holds_no_picture(body: bytes) -> None:
    with pytest.raises(BadRequest):
        parse("application/json", {}, body)


@pytest.mark.parametrize("content_type", ["text/plain", "multipart/mixed; boundary=x", "image", "json"])
def test_other_content_types(content_type: str) -> None:
    with pytest.raises(UnsupportedMediaType):
        parse(content_type, {}, _PICTURE)


_UNTOLD = pytest.mark.parametrize(
    "content_type",
    ["", "application/x-www-form-urlencoded", "Application/X-WWW-Form-Urlencoded; charset=UTF-8"],
)


@_UNTOLD
def test_who_was_told_no_type_sends_a_picture_or_json_as_the_bytes_say(content_type: str) -> None:
    for picture in (_PICTURE, b"BM" + bytes(2000), b"\0\0\0 ftypavif"):
        assert parse(content_type, {"model": "m"}, picture) == PredictFields(picture, "m")
    document = json.dumps({"image": base64.b64encode(_PICTURE).decode(), "model": "m"}).encode()
    assert parse(content_type, {}, b" \n" + document) == PredictFields(_PICTURE, "m")


@_UNTOLD
@pytest.mark.parametrize("body", [b"", b"image=x", b"a picture", b"data:image/png;base64,YWJj", b"[]"])
def test_other_text_without_a_type_is_refused_with_what_to_send(content_type: str, body: bytes) -> None:
    with pytest.raises(UnsupportedMediaType, match=r"multipart/form-data.*curl"):
        parse(content_type, {}, body)


def test_a_picture_that_has_lost_bytes_is_told_to_be_sent_as_it_is() -> None:
    """`curl -d @picture` leaves them out."""
    with pytest.raises(BadRequest, match="--data-binary"):
        parse("application/x-www-form-urlencoded", {}, _PICTURE * 1000)
    for kept in (b"\n", b"\r", b"\0"):
        assert parse("application/x-www-form-urlencoded", {}, _PICTURE * 1000 + kept).image
    assert parse("", {}, _PICTURE * 1000).image


def test_long_text_is_long_and_a_picture_is_not() -> None:
    form, text = "multipart/form-data; boundary=x", b"A" * 600_000
    assert is_long("application/json; charset=utf-8", text)
    assert is_long(form, text)
    assert not is_long("application/json", text[:1000])
    assert not is_long(form, b"\xff\0" * 300_000)
    assert not is_long("image/jpeg", b"\xff\0" * 300_000)


@pytest.mark.slow
@settings(max_examples=SIZES.examples)
@given(st.dictionaries(st.sampled_from(NAMES), _JSON))
def test_whatever_json_says_is_understood_or_refused(fields: dict[str, Any]) -> None:
    try:
        read = _json(**fields)
    except BadRequest:
        return
    threshold = read.options.threshold
    assert threshold is None or (math.isfinite(threshold) and 0 <= threshold <= 1)
    assert 1 <= read.options.max_detections <= 1000
    assert read.model is None or len(read.model) <= 128
    assert read.version is None or isinstance(read.version, str)


@pytest.mark.slow
@settings(max_examples=SIZES.examples)
@given(
    st.sampled_from(_TYPES),
    st.dictionaries(st.text(max_size=8), st.text(max_size=20), max_size=3),
    st.binary(),
)
def test_nothing_but_our_errors_comes_out(content_type: str, query: dict[str, str], body: bytes) -> None:
    try:
        parse(content_type, query, body)
    except ServingError:
        return
