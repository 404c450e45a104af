"""Pictures in buckets, read from a real S3 server."""

from __future__ import annotations

import asyncio

import obstore
import pytest

from adapters.objects import ObjectReader
from adapters.pictures.picture_options import PictureOptions
from hotswap.errors import (
    BadRequest,
    BucketNotAllowed,
    ObjectNotFound,
    ObjectsUnavailable,
    Overloaded,
    PictureTooLarge,
)
from tests.support.s3_server import SECRET_KEY, S3Server

pytestmark = [pytest.mark.process, pytest.mark.timeout(300)]
BUCKET = "imagery-hot"


def _read(reader: ObjectReader, bucket: str, key: str, held: list[int] | None = None) -> bytes:
    return asyncio.run(reader.read(bucket, key, (held if held is not None else []).append))


def _reader(server: S3Server, most: int = 1_000, options: PictureOptions | None = None) -> ObjectReader:
    return ObjectReader(options or server.options, [BUCKET, "gone"], most)


@pytest.mark.parametrize("key", ["a.jpg", "field 7/ä+b%20.jpg", "a/b/c/d"])
def test_an_object_is_read_whole_and_its_size_told_before(s3_server: S3Server, key: str) -> None:
    obstore.put(s3_server.bucket(BUCKET), key, b"x" * 1_000)
    held: list[int] = []
    assert _read(_reader(s3_server), BUCKET, key, held) == b"x" * 1_000
    assert held == [1_000]


def test_what_is_too_large_is_not_read(s3_server: S3Server) -> None:
    obstore.put(s3_server.bucket(BUCKET), "large", b"x" * 1_001)
    held: list[int] = []
    with pytest.raises(PictureTooLarge, match="has 1001 bytes; at most 1000"):
        _read(_reader(s3_server), BUCKET, "large", held)
    assert held == []


def test_without_room_nothing_is_read(s3_server: S3Server) -> None:
    obstore.put(s3_server.bucket(BUCKET), "some", b"x")

    def full(_size: int) -> None:
        raise Overloaded("no room")

    with pytest.raises(Overloaded):
        asyncio.run(_reader(s3_server).read(BUCKET, "some", full))


def test_what_is_not_there_is_told_apart(s3_server: S3Server) -> None:
    s3_server.bucket(BUCKET)
    with pytest.raises(ObjectNotFound, match="there is no object 'none' in imagery-hot"):
        _read(_reader(s3_server), BUCKET, "none")
    with pytest.raises(ObjectNotFound, match="there is no bucket gone"):
        _read(_reader(s3_server), "gone", "none")


@pytest.mark.parametrize("bucket", ["other", "", "imagery-hot/..", "../imagery-hot"])
def test_other_buckets_are_refused_before_anybody_is_asked(bucket: str) -> None:
    reader = ObjectReader(PictureOptions("http://127.0.0.1:1", allow_http=True), [BUCKET], 10)
    with pytest.raises(BucketNotAllowed, match="allowed are imagery-hot"):
        _read(reader, bucket, "a")


@pytest.mark.parametrize("key", ["../x", "a/../../b", "a//b", "."])
def test_a_key_never_leads_out_of_its_bucket(s3_server: S3Server, key: str) -> None:
    s3_server.bucket(BUCKET)
    with pytest.raises((BadRequest, ObjectNotFound)):
        _read(_reader(s3_server), BUCKET, key)


def test_a_store_that_is_away_may_come_back(s3_server: S3Server) -> None:
    obstore.put(s3_server.bucket(BUCKET), "kept", b"x")
    options = PictureOptions(s3_server.endpoint, allow_http=True, seconds=1.0)
    s3_server.stop()
    try:
        with pytest.raises(ObjectsUnavailable, match="cannot be asked for imagery-hot") as caught:
            _read(_reader(s3_server, options=options), BUCKET, "kept")
        assert caught.value.transient
    finally:
        s3_server.start()
    if s3_server.is_real:
        assert _read(_reader(s3_server), BUCKET, "kept") == b"x"


def test_a_refused_key_is_told_without_it(s3_server: S3Server) -> None:
    if not s3_server.is_real:
        pytest.skip("this server checks no keys")
    s3_server.bucket(BUCKET)
    wrong = PictureOptions(s3_server.endpoint, "nobody", SECRET_KEY + "x", allow_http=True)
    with pytest.raises(ObjectsUnavailable, match=r"refuses the access key|is its key known") as caught:
        _read(_reader(s3_server, options=wrong), BUCKET, "a")
    assert SECRET_KEY not in str(caught.value)
