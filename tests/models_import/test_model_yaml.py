"""`model.yaml` as BentoML writes it, and what is said of one that is not so."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manifest.version_manifest import BadManifest, FileEntry, Manifest
from models_import.model_yaml import parse, render

ENTRY = FileEntry(sha256="0" * 64, size=1)
MANIFEST = Manifest(digest="sha256:" + "0" * 64, weights="w", files={"w": ENTRY, "config.json": ENTRY})
MOMENT = datetime(2026, 1, 2, 3, 4, 5, 6, UTC)


def test_what_is_rendered_is_parsed_again() -> None:
    info = parse(render("code", "v1", MOMENT, MANIFEST))
    assert (info.name, info.version, info.created, info.manifest) == ("code", "v1", MOMENT, MANIFEST)


def test_it_holds_no_null_which_bentoml_refuses() -> None:
    assert b"null" not in render("code", "v1", MOMENT, MANIFEST)


def test_what_a_foreign_one_says_besides_is_kept() -> None:
    base = {"labels": {"team": "vision"}, "metadata": {"accuracy": 0.5}, "module": "theirs", "name": "old"}
    document = parse(render("code", "v1", MOMENT, MANIFEST, base)).document
    assert (document["labels"], document["module"]) == ({"team": "vision"}, "theirs")
    assert document["metadata"]["accuracy"] == 0.5
    assert document["name"] == "code"


@pytest.mark.parametrize("text", ["2026-01-02T03:04:05.000006", "'2026-01-02T04:04:05.000006+01:00'"])
def test_every_way_to_write_a_moment_is_read(text: str) -> None:
    assert parse(f"name: code\nversion: v1\ncreation_time: {text}\n".encode()).created == MOMENT


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"", "empty"),
        (b"- a\n", "empty or no mapping"),
        (b"name: [\n", "is not YAML"),
        (b"\xff\xfe\x00", "is not YAML"),
        (b"name: code\n", "lacks name or version"),
        (b"name: code\nversion: 1\ncreation_time: now\n", "lacks name or version"),
        (b"name: code\nversion: v1\ncreation_time: now\n", "creation_time: 'now'"),
        (b"name: code\nversion: v1\n", "creation_time: None"),
        (
            b"name: code\nversion: v1\ncreation_time: 2026-01-01\nmetadata: {okawari: {digest: x}}\n",
            "okawari: digest",
        ),
        (b"!!python/object/apply:os.system ['true']\n", "is not YAML"),
        (b"creation_time: 2026-13-45\n", "is not YAML: ValueError"),
        (b"a: !!int abc\n", "is not YAML: ValueError"),
        (b"a: !!bool zz\n", "is not YAML: KeyError"),
        (b"a: !!timestamp 'a'\n", "is not YAML: AttributeError"),
        (b"name: code\nversion: v1\ncreation_time: '0001-01-01T00:00:00+14:00'\n", "years 1 to 9999"),
        (b"name: code\nversion: v1\ncreation_time: 9999-12-31T23:59:59-10:00\n", "years 1 to 9999"),
        (b"name: code\nversion: v1\ncreation_time: [2026-01-01]\n", "creation_time: list of 1 is no time"),
        (b"a: &a [1]\nb: *a\n", r"aliases \(\*a\) are refused"),
        (b"[" * 100_000, "levels"),
        (b"a: [" + b"1," * 100_000 + b"]", "parts"),
        (b"a: 1" + b":59" * 300_000, "longer than 20000"),
        (b"a: 1" + b":59" * 6_000, "lacks name"),
        (b"".join(b"%%TAG !a%d! x\r" % n for n in range(50_000)) + b"--- a", "percent signs"),
        (b"".join(b"%%TAG !a%d! x\n" % n for n in range(900)) + b"--- {}", "lacks name"),
        ("name: code\n".encode("utf-16"), "lacks name"),
    ],
)
def test_anything_else_is_said(text: bytes, said: str) -> None:
    with pytest.raises(BadManifest, match=said):
        parse(text)


def test_a_bomb_of_aliases_is_refused_before_it_grows() -> None:
    lines = ["a0: &a0 [lol]", *(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12))]
    text = "\n".join([*lines, "name: code", "version: v1", "creation_time: *a11"])
    with pytest.raises(BadManifest, match="aliases"):
        parse(text.encode())


_TAGS = [
    "!!int ",
    "!!bool ",
    "!!timestamp ",
    "!!binary ",
    "!!set ",
    "!!omap ",
    "!!null ",
    "&a ",
    "*a",
    "<<: ",
]
_KEYS = ["name: ", "version: ", "creation_time: ", "metadata: ", "okawari: "]
_VALUES = ["2026-13-45", "0001-01-01", "+14:00", "code", "v1", "1", "1e400"]
_SIGNS = ["{", "}", "[", "]", ",", "\n", "\n  ", "- ", "? ", ": ", "'", '"', "|", "%"]
_PARTS = st.sampled_from([*_TAGS, *_KEYS, *_VALUES, *_SIGNS])


@given(st.lists(_PARTS, max_size=30).map("".join).map(str.encode) | st.binary(max_size=60))
def test_nothing_else_is_ever_raised(text: bytes) -> None:
    with suppress(BadManifest):
        parse(text)
