"""The fields that devices send: what is accepted, and what is refused with the field's name."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from api import hand_in
from hotswap.errors import BadRequest

NOON = datetime(2026, 11, 29, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    "text",
    ["2026-11-29T12:00:00Z", "2026-11-29T12:00:00", "2026-11-29T13:00:00+01:00", "2026-11-29 12:00"],
)
def test_a_moment_is_utc_unless_it_says_otherwise(text: str) -> None:
    assert hand_in.moment("timestamp", text) == NOON


@pytest.mark.parametrize(
    "text",
    [None, "", "yesterday", "1764417600", "2026-11-29", "2026-13-01T00:00:00Z", 7, "0001-01-01T00:00+23:59"],
)
def test_what_is_no_moment_is_refused(text: object) -> None:
    with pytest.raises(BadRequest, match="timestamp"):
        hand_in.moment("timestamp", text)


@pytest.mark.parametrize("name", ["camera-1", "A", "a.b_c-9", "x" * 100])
def test_device_ids(name: str) -> None:
    assert hand_in.device_id(name) == name


@pytest.mark.parametrize("name", [None, "", "..", ".hidden", "a/b", "a b", "ü", "x" * 101, "a\n"])
def test_a_device_id_that_could_leave_its_folder_is_refused(name: str | None) -> None:
    with pytest.raises(BadRequest, match="device_id"):
        hand_in.device_id(name)


def test_metadata_is_a_json_object() -> None:
    assert hand_in.metadata("metadata", '{"site": {"x": [1, 2.5, null]}}') == {"site": {"x": [1, 2.5, None]}}
    assert hand_in.metadata("metadata", None) == {}


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        '"text"',
        '{"a": NaN}',
        '{"a": Infinity}',
        "[" * 40 + "]" * 40,
        '{"a": "\\u0000"}',
        "x" * 70_000,
    ],
)
def test_what_cannot_be_kept_as_metadata_is_refused(text: str) -> None:
    with pytest.raises(BadRequest, match="metadata"):
        hand_in.metadata("metadata", text)


def test_a_deep_document_is_refused_without_a_crash() -> None:
    with pytest.raises(BadRequest, match="metadata"):
        hand_in.metadata("metadata", '{"a":' * 9_000 + "1" + "}" * 9_000)


@pytest.mark.parametrize("value", ["nan", "inf", "-0.1", "1.1", "x"])
def test_thresholds_are_in_range(value: str) -> None:
    with pytest.raises(BadRequest, match="threshold"):
        hand_in.options({"box_threshold": value})


def test_the_clock_of_a_device_is_compared_with_ours() -> None:
    assert hand_in.clock_offset_ms({"date": "Sun, 29 Nov 2026 12:00:05 GMT"}, NOON) == 5_000
    assert hand_in.clock_offset_ms({"date": "Sun, 29 Nov 1970 12:00:05 GMT"}, NOON) == -(2**31 - 1)
    assert hand_in.clock_offset_ms({"date": "soon"}, NOON) is None
    assert hand_in.clock_offset_ms({}, NOON) is None


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("a.jpg", "a.jpg"),
        ("../../etc/passwd", "passwd"),
        ("C:\\x\\y.png", "y.png"),
        ("a\nb", "ab"),
        ("/", None),
        (None, None),
    ],
)
def test_a_file_name_is_only_its_last_part(sent: str | None, kept: str | None) -> None:
    assert hand_in.file_name(sent) == kept


def test_a_key_has_a_length() -> None:
    assert hand_in.idempotency_key({"idempotency-key": "k"}) == "k"
    with pytest.raises(BadRequest, match="Idempotency-Key"):
        hand_in.idempotency_key({"idempotency-key": "k" * 256})
