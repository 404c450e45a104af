"""Forms that have been read whole."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from api.http.multipart import Part, parse
from hotswap.errors import BadRequest
from tests.e2e.sizes import SIZES

_TYPE = "multipart/form-data; boundary=frontier"
_NAMES = st.text(
    st.characters(codec="utf-8", exclude_characters='"\\\r\n\0', exclude_categories=["Cc", "Cs"])
)


def _form(*parts: tuple[bytes, bytes], end: bytes = b"--frontier--\r\n") -> bytes:
    return b"".join(b"--frontier\r\n%b\r\n\r\n%b\r\n" % part for part in parts) + end


def _named(name: str) -> bytes:
    return f'Content-Disposition: form-data; name="{name}"'.encode()


@pytest.mark.slow
@given(
    st.lists(
        st.tuples(_NAMES, st.binary(max_size=200).filter(lambda data: b"--frontier" not in data)), max_size=16
    )
)
def test_what_was_sent_is_what_is_read(fields: list[tuple[str, bytes]]) -> None:
    body = _form(*((_named(name), data) for name, data in fields))
    if not fields:
        body = b"--frontier\r\n\r\n\r\n--frontier--"
        assert parse(body, _TYPE) == [Part()]
        return
    assert [(part.name, part.data) for part in parse(body, _TYPE)] == fields


@settings(max_examples=SIZES.examples)
@given(
    st.binary(max_size=400),
    st.sampled_from([_TYPE, 'multipart/form-data; boundary="a b"', "x; boundary=\xff"]),
)
def test_anything_else_is_a_bad_request_and_nothing_worse(body: bytes, content_type: str) -> None:
    try:
        parse(body, content_type)
    except BadRequest:
        return


@pytest.mark.slow
@settings(max_examples=SIZES.examples)
@given(st.data())
def test_a_damaged_form_is_read_or_refused(data: st.DataObject) -> None:
    whole = bytearray(_form((_named("image"), bytes(range(256))), (_named("model"), b"m")))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(whole) - 1))
        whole[at : at + data.draw(st.integers(0, 8))] = data.draw(st.binary(max_size=8))
        if not whole:
            return
    try:
        assert len(parse(bytes(whole), _TYPE)) <= 16
    except BadRequest:
        return


def test_a_file_is_told_from_a_field() -> None:
    parts = parse(_form((_named("image") + b'; filename="x.jpg"', b"1"), (_named("model"), b"m")), _TYPE)
    assert parts == [Part("image", "x.jpg", b"1"), Part("model", None, b"m")]


@pytest.mark.parametrize(
    ("body", "content_type", "why"),
    [
        (_form((_named("a"), b"1")), "multipart/form-data", "boundary"),
        (_form((_named("a"), b"1"), end=b""), _TYPE, "last boundary"),
        (_form(*[(_named("a"), b"1")] * 17), _TYPE, "more than 16"),
        (_form((b"X: " + b"x" * 10_000, b"1")), _TYPE, "eader"),
        (_form((b"X: y\r\n" * 3000, b"1")), _TYPE, "eader"),
        (b"", _TYPE, "last boundary"),
    ],
)
def test_a_form_beyond_the_limits_is_refused_with_the_reason(
    body: bytes, content_type: str, why: str
) -> None:
    with pytest.raises(BadRequest, match=why):
        parse(body, content_type)
