"""Pictures as text: forms of base64 that programs write are read, others refused at their character."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as some

from api.base64_text import _PIECE, decoded
from hotswap.errors import BadRequest

_HEADS = [
    "data:image/jpeg;base64,",
    "DATA:image/PNG;charset=utf-8;Base64,",
    "data:;base64,",
    " data:x ; base64 , ",
]


@given(some.binary(max_size=300), some.sampled_from(["", *_HEADS]))
def test_every_form_of_one_content_is_that_content(content: bytes, head: str) -> None:
    plain = base64.b64encode(content).decode()
    forms = (
        plain,
        base64.urlsafe_b64encode(content).decode(),
        plain.replace("+", "-"),  # mixed: no character has two meanings
        plain.rstrip("="),
        base64.encodebytes(content).decode().replace("\n", "\r\n"),
        "\t ".join(plain) + " ",
    )
    for form in forms:
        assert decoded(head + form, "image") == decoded((head + form).encode(), "image") == content


@given(some.binary(max_size=100))
def test_a_data_url_may_write_its_base64_with_percent_signs(content: bytes) -> None:
    text = base64.b64encode(content).decode()
    for sign in "+/=":
        text = text.replace(sign, f"%{ord(sign):02X}")
    assert decoded(f"data:image/png;base64,{text}", "image") == content


@pytest.mark.parametrize("size", [0, _PIECE - 1, _PIECE, _PIECE + 1, 3 * _PIECE // 4, 3 * _PIECE])
def test_long_texts_are_read_in_pieces(size: int) -> None:
    content = bytes(index * 7 % 251 for index in range(size))
    for text in (base64.b64encode(content), base64.encodebytes(content), base64.urlsafe_b64encode(content)):
        assert decoded(text, "image") == content
        assert decoded(text.replace(b"=", b""), "image") == content


@pytest.mark.parametrize(
    ("text", "at", "character"),
    [
        ("*", 0, "*"),
        ("abcd$", 4, "$"),
        ("ab\ncé", 4, "é"),
        ("http://camera/1.jpg", 4, ":"),
        ("data:image/jpeg;base64,YWJj!", 27, "!"),
        ("data:image/é;base64,YWJj!", 24, "!"),
        ("ab=c", 2, "="),
        ("YQ==YQ==", 2, "="),
        ("A" * _PIECE + "YQ==" + "A" * 8, _PIECE + 2, "="),
        ("A" * (_PIECE - 4) + "YQ==" + "A" * 8, _PIECE - 2, "="),
        ("A" * 3 * _PIECE + "?", 3 * _PIECE, "?"),
        ("AA\N{NO-BREAK SPACE}AA", 2, "\xa0"),
    ],
)
def test_the_first_character_that_cannot_be_is_told(text: str, at: int, character: str) -> None:
    for form in (text, text.encode()):
        with pytest.raises(BadRequest) as refused:
            decoded(form, "image")
        assert f"image: not base64: character {at} is {character!r}; " in refused.value.message


@pytest.mark.parametrize("text", ["a", "abcde", "ab cd e", "abcd===", "====", "= = ="])
def test_what_is_cut_off_or_padded_too_long_is_refused(text: str) -> None:
    with pytest.raises(BadRequest, match="image: not base64"):
        decoded(text, "image")


@pytest.mark.parametrize(
    "text",
    [
        "data:image/svg+xml;utf8,<svg>",
        "data:image/png,%89PNG",
        "data:,",
        "data:base64,YWJj",
        "data:image/png;base64",
        "data:" + "x" * 100_000,
    ],
)
def test_data_urls_that_are_no_base64_are_refused_with_the_reason(text: str) -> None:
    with pytest.raises(BadRequest, match="image: a data URL") as refused:
        decoded(text, "image")
    assert len(refused.value.message) < 300
