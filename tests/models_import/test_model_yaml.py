"""`model.yaml` as BentoML writes it, and what is said of one that is not so."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from hotswap.manifest import BadManifest, FileEntry, Manifest
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
    ],
)
def test_anything_else_is_said(text: bytes, said: str) -> None:
    with pytest.raises(BadManifest, match=said):
        parse(text)
