"""What is read as a message, and what is refused with its reason."""

from __future__ import annotations

import json

import pytest

from streaming.messages import MOST_BYTES, BadMessage, parse


def _refusal(value: bytes | None) -> BadMessage:
    with pytest.raises(BadMessage) as caught:
        parse(value)
    return caught.value


def test_all_fields_are_read_and_others_are_kept() -> None:
    sent = {
        "bucket": "imagery-hot",
        "key": "a/b.jpg",
        "camera": "c1",
        "publish_ts_ms": 5,
        "extra": {"row": 3},
        "more": 1,
    }
    message = parse(json.dumps(sent).encode())
    assert (message.bucket, message.key, message.camera, message.publish_ts_ms) == (
        "imagery-hot",
        "a/b.jpg",
        "c1",
        5,
    )
    assert message.extra == {"row": 3}
    assert message.fields == sent


def test_bucket_and_key_are_enough() -> None:
    message = parse(b'{"bucket": "b", "key": "k", "camera": null}')
    assert (message.camera, message.publish_ts_ms, message.extra) == (None, None, None)


@pytest.mark.parametrize(
    ("value", "code", "said"),
    [
        (None, "invalid_message", "the message is empty"),
        (b"", "invalid_message", "the message is empty"),
        (b"{", "invalid_message", "no JSON"),
        (b"\xff\xfe", "invalid_message", "no JSON"),
        (b'{"bucket": "b", "key": NaN}', "invalid_message", "no JSON number"),
        (b"[" * 60_000, "invalid_message", "no JSON"),
        (b"[]", "invalid_message", "a JSON list, not an object"),
        (b'{"key": "k"}', "invalid_message", "bucket: expected a text of 1 to 255 characters, found nothing"),
        (b'{"bucket": "b", "key": ""}', "invalid_message", "key: expected a text of 1 to 1024 characters"),
        (b'{"bucket": "b", "key": 5}', "invalid_message", "key: expected a text"),
        (b'{"bucket": "b", "key": "a\\u0000"}', "invalid_message", "key: expected a text"),
        (b'{"bucket": "b", "key": "\\ud800"}', "invalid_message", "key: expected a text"),
        (b'{"bucket": "b", "key": "k", "x": 1e999}', "invalid_message", "no number"),
        (b'{"bucket": "b", "key": "k", "camera": 1}', "invalid_message", "camera: expected a text"),
        (
            b'{"bucket": "b", "key": "k", "publish_ts_ms": true}',
            "invalid_message",
            "publish_ts_ms: expected milliseconds",
        ),
        (b'{"bucket": "b", "key": "k", "publish_ts_ms": -1}', "invalid_message", "found -1"),
        (b'{"bucket": "b", "key": "k", "extra": []}', "invalid_message", "extra: expected an object"),
        (b" " * (MOST_BYTES + 1), "message_too_large", f"has {MOST_BYTES + 1} bytes"),
    ],
)
def test_what_cannot_be_answered_is_refused(value: bytes | None, code: str, said: str) -> None:
    refusal = _refusal(value)
    assert refusal.code == code
    assert said in refusal.reason


def test_the_longest_message_is_read() -> None:
    start, end = b'{"bucket": "b", "key": "k", "note": "', b'"}'
    text = start + b"x" * (MOST_BYTES - len(start) - len(end)) + end
    assert parse(text).key == "k"
