"""What an artifact says of itself."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from common.text import shown
from manifest.version_manifest import BadManifest, FileEntry, as_utc, digest_of, parse_config, parse_manifest

WHOLE: dict[str, Any] = {
    "task": "object-detection",
    "family": "yolox",
    "input": {"width": 640, "height": 640},
    "labels": ["a"],
}


def entry(letter: str, size: int = 1) -> FileEntry:
    return FileEntry(sha256=letter * 64, size=size)


def test_a_small_config_is_enough_and_the_rest_has_defaults() -> None:
    config = parse_config(json.dumps(WHOLE))
    assert (config.thresholds.score, config.input.colour_order, config.warm_up.runs) == (0.5, "RGB", 2)


@pytest.mark.parametrize(
    ("change", "parts"),
    [
        ({"task": "guessing"}, ["task", "'guessing'", "'object-detection'", "'image-classification'"]),
        ({"thresholds": {"score": 1.5}}, ["thresholds.score", "1.5", "less than or equal to 1"]),
        ({"input": {"width": 0, "height": 1}}, ["input.width", "found 0", "greater than or equal to 1"]),
        (
            {"input": {"width": 1, "height": 1, "std": [1, 0, 1]}},
            ["input.std", "list of 3", "greater than 0"],
        ),
        ({"colour": "red"}, ["colour", "'red'", "not permitted"]),
        ({"golden": [{"file": "../x.jpg"}]}, ["golden.0.file", "'../x.jpg'", "inside the version's folder"]),
        ({"created": "2024-01-01T00:00:00"}, ["created", "2024-01-01", "timezone"]),
        ({"created": "0001-01-01T00:00:00+14:00"}, ["created", "0001-01-01", "years 1 to 9999"]),
        ({"created": "9999-12-31T23:59:59-10:00"}, ["created", "9999-12-31", "years 1 to 9999"]),
        ({"labels": ["a" * 201]}, ["labels.0", "'aaa", "at most 200"]),
        ({"labels": ["a"] * 100_001}, ["labels", "at most 100000"]),
    ],
)
def test_a_refused_config_names_field_value_and_what_is_allowed(
    change: dict[str, Any], parts: list[str]
) -> None:
    with pytest.raises(BadManifest) as refused:
        parse_config(json.dumps(WHOLE | change))
    assert [part for part in ["config.json", *parts] if part not in str(refused.value)] == []


def test_a_missing_field_is_named_without_the_whole_document() -> None:
    with pytest.raises(BadManifest) as refused:
        parse_config(json.dumps({key: WHOLE[key] for key in ("task", "input", "labels")}))
    assert str(refused.value) == "config.json: family: Field required"


def test_a_config_that_is_no_json_is_refused_in_one_short_line() -> None:
    with pytest.raises(BadManifest) as refused:
        parse_config("{" * 5000)
    assert len(str(refused.value)) < 300


@pytest.mark.parametrize(
    "encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-8"], ids=str
)
def test_a_config_may_have_a_byte_order_mark_or_two_bytes_a_letter(encoding: str) -> None:
    text = json.dumps(WHOLE | {"description": "Fläche"}, ensure_ascii=False, indent=1).replace("\n", "\r\n")
    assert parse_config(text.encode(encoding)).description == "Fläche"


def test_a_config_in_utf_16_of_the_other_order() -> None:
    assert parse_config(b"\xfe\xff" + json.dumps(WHOLE).encode("utf-16-be")) == parse_config(
        json.dumps(WHOLE)
    )


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252"])
def test_a_config_that_is_no_utf_8_says_where(encoding: str) -> None:
    text = json.dumps({"description": "Fläche"} | WHOLE, ensure_ascii=False, indent=1)
    place = text.index("ä")
    with pytest.raises(BadManifest, match=rf"byte {place} \(0xe4, line 2\).*save the file as UTF-8"):
        parse_config(text.encode(encoding))


@pytest.mark.parametrize(
    ("text", "place"),
    [('{\n// remark\n"a": 1}', "line 2 column 1"), ('{"a": 1,\n}', "line 2 column 1")],
)
def test_remarks_and_trailing_commas_are_refused_with_their_place(text: str, place: str) -> None:
    with pytest.raises(BadManifest, match=place):
        parse_config(text.encode())


def test_of_many_findings_five_are_told() -> None:
    with pytest.raises(BadManifest) as refused:
        parse_config(json.dumps(WHOLE | {"labels": list(range(1000))}))
    assert str(refused.value).count("labels.") == 5
    assert str(refused.value).endswith("; and 995 more")


@pytest.mark.parametrize("key", ["x" * 100_000, "\x1b[2J\n", "\u202e"])
def test_a_field_s_name_is_fit_for_a_terminal(key: str) -> None:
    with pytest.raises(BadManifest) as refused:
        parse_config(json.dumps(WHOLE | {key: 1}))
    assert str(refused.value).isprintable()
    assert len(str(refused.value)) < 300


def test_what_is_shown_of_a_value_takes_no_time_and_little_room() -> None:
    bomb: list[object] = ["lol"]
    for _ in range(50):
        bomb = [bomb] * 9
    assert shown(bomb) == "list of 9"
    assert shown({"a": bomb}) == "dict of 1"
    assert shown(10**100_000) == "a number of 332193 bits"
    assert shown("\n" * 1000) == "'" + "\\n" * 38 + "..."
    assert (shown("a"), shown(7), shown(None)) == ("'a'", "7", "None")


def test_a_refused_manifest_names_its_place_in_model_yaml() -> None:
    with pytest.raises(BadManifest, match=r"model.yaml metadata.okawari: digest: .*found 'md5:1'"):
        parse_manifest({"digest": "md5:1", "weights": "w", "files": {}})


def test_the_digest_covers_names_and_contents_but_neither_order_nor_tag() -> None:
    one = digest_of({"weights.onnx": entry("a"), "config.json": entry("b")})
    assert one == digest_of({"config.json": entry("b"), "weights.onnx": entry("a")})
    assert one != digest_of({"weights.onnx": entry("a"), "config.json": entry("c")})
    assert one != digest_of({"other.onnx": entry("a"), "config.json": entry("b")})


def test_a_manifest_s_size_is_that_of_all_its_files() -> None:
    files = {"a": entry("a", 3), "b": entry("b", 4)}
    found = {"digest": digest_of(files), "weights": "a", "files": files}
    assert parse_manifest({**found, "files": {k: v.model_dump() for k, v in files.items()}}).size_bytes == 7


def test_moments_without_zone_are_utc() -> None:
    noon = datetime(2024, 1, 1, 12, tzinfo=UTC)
    assert as_utc(datetime(2024, 1, 1, 12)) == noon
    assert as_utc(datetime(2024, 1, 1, 14, tzinfo=timezone(timedelta(hours=2)))) == noon
