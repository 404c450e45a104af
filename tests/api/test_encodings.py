"""Compressed bodies: expanded piece by piece, never beyond the limit, and counted before they go on."""

from __future__ import annotations

import gzip
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as some
from starlette.datastructures import Headers

from api.errors import BodyTooLarge, UnsupportedEncoding, UnsupportedMediaType
from api.http import content_encoding
from hotswap.errors import BadRequest, Overloaded

MEGABYTE = 1_000_000


@given(some.binary(max_size=5000), some.sampled_from(["gzip", "deflate"]))
def test_what_is_compressed_is_expanded_again(body: bytes, name: str) -> None:
    held: list[int] = []
    assert content_encoding.expand(content_encoding.compress(body, name), name, 5000, held.append) == body
    assert sum(held) == len(body)


@pytest.mark.slow
@pytest.mark.parametrize("pack", [gzip.compress, zlib.compress])
def test_a_bomb_is_not_expanded_beyond_the_limit(pack: object) -> None:
    assert callable(pack)
    body = pack(bytes(64 * MEGABYTE))
    held: list[int] = []
    name = "gzip" if pack is gzip.compress else "deflate"
    with pytest.raises(BodyTooLarge, match="1000000 bytes after decompression"):
        content_encoding.expand(body, name, MEGABYTE, held.append)
    assert sum(held) <= MEGABYTE
    assert max(held) <= 262_144


@pytest.mark.slow
def test_who_may_hold_no_more_is_told_before_the_next_piece() -> None:
    held: list[int] = []

    def hold(size: int) -> None:
        if sum(held) + size > MEGABYTE:
            raise Overloaded("full")
        held.append(size)

    with pytest.raises(Overloaded):
        content_encoding.expand(gzip.compress(bytes(64 * MEGABYTE)), "gzip", 100 * MEGABYTE, hold)
    assert 0 < sum(held) <= MEGABYTE


def test_a_body_of_exactly_the_limit_is_taken() -> None:
    assert (
        len(content_encoding.expand(gzip.compress(bytes(MEGABYTE)), "gzip", MEGABYTE, lambda _: None))
        == MEGABYTE
    )
    with pytest.raises(BodyTooLarge):
        content_encoding.expand(gzip.compress(bytes(MEGABYTE + 1)), "gzip", MEGABYTE, lambda _: None)


@given(some.binary(max_size=200), some.sampled_from(["gzip", "deflate"]))
def test_other_bytes_are_refused(body: bytes, name: str) -> None:
    whole = content_encoding.compress(b"known", name)
    for odd in (body, whole[: len(body) % len(whole)], whole + b"x" + body):
        if name == "deflate" and _is_raw(odd):
            continue
        with pytest.raises(BadRequest):
            content_encoding.expand(odd, name, MEGABYTE, lambda _: None)


def _is_raw(body: bytes) -> bool:
    """Whether it is by chance what some send as deflate: a stream without a head, which two bytes can be."""
    unpack = zlib.decompressobj(-15)
    try:
        unpack.decompress(body)
    except zlib.error:
        return False
    return unpack.eof and not unpack.unused_data


@given(some.binary(max_size=3000), some.integers(0, 9))
def test_deflate_is_read_with_the_head_of_zlib_and_without(body: bytes, level: int) -> None:
    pack = zlib.compressobj(level, zlib.DEFLATED, -15)
    for sent in (zlib.compress(body, level), pack.compress(body) + pack.flush()):
        assert content_encoding.expand(sent, "deflate", 3000, lambda _: None) == body


@given(some.lists(some.binary(max_size=40_000), min_size=1, max_size=4))
def test_members_of_gzip_that_follow_each_other_are_one_body(parts: list[bytes]) -> None:
    sent = b"".join(gzip.compress(part, 1) for part in parts)
    assert content_encoding.expand(sent, "gzip", MEGABYTE, lambda _: None) == b"".join(parts)
    with pytest.raises(BadRequest, match="truncated gzip"):
        content_encoding.expand(sent[:-1], "gzip", MEGABYTE, lambda _: None)


def test_a_body_of_countless_members_is_refused() -> None:
    with pytest.raises(BadRequest):
        content_encoding.expand(gzip.compress(b"") * 5000, "gzip", MEGABYTE, lambda _: None)


def test_a_step_that_ends_where_the_body_ends_loses_nothing() -> None:
    """Without a head and an end of its own, a stream's last bytes may be read while much of it is to come."""
    for size in (262_143, 262_144, 262_145, 262_165, 262_200, 524_288, 600_000):
        body, pack = bytes(size), zlib.compressobj(1, wbits=-15)
        assert content_encoding.expand(gzip.compress(body), "gzip", size, lambda _: None) == body
        raw = pack.compress(body) + pack.flush()
        assert content_encoding.expand(raw, "deflate", size, lambda _: None) == body


def of_body(*told: str) -> str | None:
    return content_encoding.of_body(Headers(raw=[(b"content-encoding", each.encode()) for each in told]))


def test_names_of_encodings() -> None:
    names = ("", "identity", " GZIP ", "x-gzip", "deflate", "gzip, identity", ", gzip")
    found = [None, None, "gzip", "gzip", "deflate", "gzip", "gzip"]
    assert [of_body(), *map(of_body, names)] == [None, *found]
    for odd in (["br"], ["zstd"], ["compress"], ["gzip, deflate"], ["gzip", "gzip"], ["x" * 1000], ["é"]):
        with pytest.raises(UnsupportedEncoding, match=r"Content-Encoding.*gzip, deflate") as refused:
            of_body(*odd)
        assert isinstance(refused.value, UnsupportedMediaType)
        assert refused.value.accepted == ("gzip", "deflate")
        assert len(refused.value.message) < 200
    assert content_encoding.for_answer("gzip", 10_000) == "gzip"
    assert [content_encoding.for_answer(name, 10_000) for name in (None, "gzip, deflate", "br", "*")] == [
        None
    ] * 4
    assert content_encoding.for_answer("gzip", 100) is None
