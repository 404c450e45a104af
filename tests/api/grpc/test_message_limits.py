"""Fields of messages are counted before they are parsed."""

from __future__ import annotations

from contextlib import suppress

import grpc
import pytest
from google.protobuf.internal.encoder import _VarintBytes
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st

from api.grpc import message_limits
from api.protos.modelmora_pb2 import BatchRequest, EmbeddingRequest
from hotswap.errors import BadRequest
from tests.api.grpc.typed import typed

NOTHING = b"\x0a\x00"
PARSE_ONE = message_limits.parser(EmbeddingRequest)
BATCH = message_limits.nested(BatchRequest.DESCRIPTOR)
#: On both sides of where the length of a length grows.
SIZES = (0, 1, 100, 120, 128, 300, 16_370, 16_400)


def test_a_batch_of_the_most_pictures_is_read_and_one_more_is_refused() -> None:
    most = message_limits.MOST_PICTURES
    assert len(message_limits.parse_batch(NOTHING * most).requests) == most
    with pytest.raises(BadRequest, match=f"at most {most}"):
        message_limits.parse_batch(NOTHING * (most + 1))


def test_a_big_message_of_nothings_is_refused_without_being_read() -> None:
    raw, most = NOTHING * 5_000_000, 80_000
    assert most < message_limits.fields(raw, most, BATCH) <= most + 2
    with pytest.raises(BadRequest, match="more than"):
        message_limits.parse_batch(raw)


def test_what_stands_before_the_pictures_hides_none_of_them() -> None:
    for odd in (b"\x10\x05", b"\x11" + bytes(8), b"\x15" + bytes(4), b"\x12\x03abc", b"\x13\x14"):
        assert message_limits.fields(odd + NOTHING * 3, 100, BATCH) == (5 if odd == b"\x13\x14" else 4)
        with pytest.raises(BadRequest):
            message_limits.parse_batch(odd + NOTHING * (message_limits.MOST_PICTURES + 1))


def test_tags_that_are_longer_than_they_need_be_count_as_the_time_that_they_take() -> None:
    long, number = b"\x88\x80\x80\x80\x00", b"\xff" * 9 + b"\x01"
    assert message_limits.fields((long + number) * 10, 100, BATCH) == 50
    assert message_limits.fields((b"\x08" + number) * 10, 100, BATCH) == 10


def within(number: int, *parts: bytes) -> bytes:
    """A message with that field, which holds the parts."""
    inner = b"".join(parts)
    return bytes([number << 3 | 2]) + _VarintBytes(len(inner)) + inner


#: A picture's request that is all options: entries of nothing, keys of one entry, what nobody knows, groups.
GROWING = (
    within(1, b"\x22\x00" * 90_000),
    within(1, within(4, b"\x0a\x00" * 90_000)),
    within(1, within(4, b"\x28\x00" * 90_000)),
    within(1, b"\x0a\x00" * 90_000),
    within(1, b"\x4b\x4c" * 90_000),
    within(1, b"\x22\x00" * 9) * 9_999,
)


@pytest.mark.parametrize("raw", GROWING, ids=["options", "keys", "unknown", "ids", "groups", "each"])
def test_what_is_within_the_pictures_of_a_batch_is_counted_too(raw: bytes) -> None:
    with pytest.raises(BadRequest, match="more than 80000 fields"):
        message_limits.parse_batch(raw)


@pytest.mark.parametrize("raw", GROWING[:5], ids=["options", "keys", "unknown", "ids", "groups"])
def test_so_is_what_is_within_a_picture_alone(raw: bytes) -> None:
    with pytest.raises(BadRequest, match="more than 256 fields"):
        PARSE_ONE(raw[4:])


def test_a_batch_of_the_most_pictures_may_have_ids_names_and_versions() -> None:
    one = EmbeddingRequest(request_id="r", image_data=bytes(9), model_name="e", options={"version": "v1"})
    raw = BatchRequest(requests=[one] * message_limits.MOST_PICTURES).SerializeToString()
    assert len(message_limits.parse_batch(raw).requests) == message_limits.MOST_PICTURES


@given(st.binary(max_size=60))
def test_odd_bytes_within_pictures_do_no_harm(odd: bytes) -> None:
    raw = within(1, odd) + NOTHING
    assert message_limits.fields(raw, 100, BATCH) >= 2
    for end in range(len(raw)):
        message_limits.fields(raw[:end], 100, BATCH)


@given(st.lists(st.sampled_from(SIZES), max_size=20), st.binary(max_size=40))
def test_pictures_are_counted_as_they_are_parsed_and_odd_bytes_hide_none(
    sizes: list[int], odd: bytes
) -> None:
    batch = BatchRequest(requests=[EmbeddingRequest(image_data=bytes(size)) for size in sizes])
    raw = batch.SerializeToString()
    assert message_limits.fields(raw, 1_000, BATCH) == len(sizes) + sum(size > 0 for size in sizes)
    assert message_limits.parse_batch(raw) == batch
    with suppress(DecodeError):
        parsed = BatchRequest.FromString(odd + raw)
        assert message_limits.fields(odd + raw, 1_000, BATCH) >= len(parsed.requests)


@pytest.mark.anyio
async def test_the_caller_of_too_big_a_batch_is_told() -> None:
    async with typed("e:v1") as served:
        call = served.channel.unary_stream("/modelmora.v1.ModelInference/GenerateBatch", None, None)
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await call(NOTHING * (message_limits.MOST_PICTURES + 1)).read()
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "at most 10000" in (refused.value.details() or "")
