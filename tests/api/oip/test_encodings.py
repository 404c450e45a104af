"""Compressed bodies: expanded piece by piece, never beyond the limit, and counted before they go on."""

from __future__ import annotations

import gzip
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as some

from api.errors import BodyTooLarge, UnsupportedMediaType
from api.oip import encodings
from hotswap.errors import BadRequest, Overloaded

MEGABYTE = 1_000_000


@given(some.binary(max_size=5000), some.sampled_from(["gzip", "deflate"]))
def test_what_is_compressed_is_expanded_again(body: bytes, name: str) -> None:
    held: list[int] = []
    assert encodings.expand(encodings.compress(body, name), name, 5000, held.append) == body
    assert sum(held) == len(body)


@pytest.mark.parametrize("pack", [gzip.compress, zlib.compress])
def test_a_bomb_is_not_expanded_beyond_the_limit(pack: object) -> None:
    assert callable(pack)
    body = pack(bytes(64 * MEGABYTE))
    held: list[int] = []
    name = "gzip" if pack is gzip.compress else "deflate"
    with pytest.raises(BodyTooLarge, match="expanded"):
        encodings.expand(body, name, MEGABYTE, held.append)
    assert sum(held) <= MEGABYTE
    assert max(held) <= 262_144


def test_who_may_hold_no_more_is_told_before_the_next_piece() -> None:
    held: list[int] = []

    def hold(size: int) -> None:
        if sum(held) + size > MEGABYTE:
            raise Overloaded("full")
        held.append(size)

    with pytest.raises(Overloaded):
        encodings.expand(gzip.compress(bytes(64 * MEGABYTE)), "gzip", 100 * MEGABYTE, hold)
    assert 0 < sum(held) <= MEGABYTE


def test_a_body_of_exactly_the_limit_is_taken() -> None:
    assert len(encodings.expand(gzip.compress(bytes(MEGABYTE)), "gzip", MEGABYTE, lambda _: None)) == MEGABYTE
    with pytest.raises(BodyTooLarge):
        encodings.expand(gzip.compress(bytes(MEGABYTE + 1)), "gzip", MEGABYTE, lambda _: None)


@given(some.binary(max_size=200), some.sampled_from(["gzip", "deflate"]))
def test_other_bytes_are_refused(body: bytes, name: str) -> None:
    whole = encodings.compress(b"known", name)
    for odd in (body, whole[: len(body) % len(whole)], whole + b"x" + body):
        with pytest.raises(BadRequest):
            encodings.expand(odd, name, MEGABYTE, lambda _: None)


def test_names_of_encodings() -> None:
    assert [encodings.of_body(name) for name in (None, "", "identity", " GZIP ", "deflate")] == [
        None,
        None,
        None,
        "gzip",
        "deflate",
    ]
    for name in ("br", "gzip, deflate", "x" * 1000):
        with pytest.raises(UnsupportedMediaType, match="gzip, deflate"):
            encodings.of_body(name)
    assert encodings.wanted("gzip", 10_000) == "gzip"
    assert [encodings.wanted(name, 10_000) for name in (None, "gzip, deflate", "br", "*")] == [None] * 4
    assert encodings.wanted("gzip", 100) is None
