"""The catalogue: what is fetched is what the catalogue knows, or nothing."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import ValidationError

from hotswap.repository import Artifact
from manifest.tags import ModelTag, natural_key
from manifest.version_manifest import parse_config
from models_import.catalogue import (
    CATALOGUE,
    CatalogueEntry,
    assemble,
    choose,
    config_of,
    digest_before_fetching,
    entries,
    small_files,
)
from models_import.errors import ImportRefused
from models_import.progress import ImportProgress
from models_import.store import ModelStore, check_family
from tests.builders import config_document, graph
from tests.models_import.shop import bring, day

WEIGHTS = graph(3).SerializeToString()


@pytest.fixture
def catalogue(tmp_path: Path) -> Path:
    """A catalogue of one small model in three versions."""
    folder = tmp_path / "catalogue"
    folder.mkdir()
    entry = {
        "name": "code",
        "description": "a model for tests",
        "url": "https://models.example/code.onnx",
        "sha256": hashlib.sha256(WEIGHTS).hexdigest(),
        "size": len(WEIGHTS),
        "licence": "Apache-2.0",
        "source": "https://models.example/",
        "config": "code.json",
        "quality": {"measure": "AP50", "value": 1.0, "how": "on drawings of our own"},
    }
    models = [{**entry, "version": f"v{n}", "created": day(n).isoformat()} for n in (2, 10, 1)]
    (folder / "index.json").write_text(json.dumps({"format": 1, "about": "", "models": models}))
    (folder / "code.json").write_text(json.dumps(config_document()))
    return folder


def served(data: bytes, status: int = 200) -> Any:
    """A client whose every request is answered with `data`."""

    def answer(request: httpx.Request) -> httpx.Response:
        assert str(request.url) == "https://models.example/code.onnx"
        return httpx.Response(status, content=data)

    return lambda: httpx.Client(transport=httpx.MockTransport(answer))


def test_without_version_it_is_the_newest(catalogue: Path) -> None:
    found = entries(catalogue)
    assert choose(found, "code", None).version == "v10"
    assert choose(found, "code", "2").version == "v2"


@pytest.mark.parametrize(
    ("name", "version", "said"),
    [("cod", None, "it has code"), ("code", "3", "no version v3 of code; it has v1, v2, v10")],
)
def test_what_it_does_not_have_is_refused_with_what_it_has(
    catalogue: Path, name: str, version: str | None, said: str
) -> None:
    with pytest.raises(ImportRefused, match=said):
        choose(entries(catalogue), name, version)


def test_a_download_becomes_a_version_with_the_digest_known_before(
    catalogue: Path, tmp_path: Path, home: Path, store: ModelStore
) -> None:
    class Bytes(ImportProgress):
        last = (0, 0)

        def progress(self, done: int, total: int) -> None:
            Bytes.last = (done, total)

    entry = choose(entries(catalogue), "code", "1")
    folder = assemble(entry, tmp_path / "new", client=served(WEIGHTS), report=Bytes(), catalogue=catalogue)
    assert Bytes.last == (len(WEIGHTS), len(WEIGHTS))
    bring(home, folder)
    settled = store.settle(ModelTag("code", "v1"))
    assert isinstance(settled, Artifact)
    assert settled.digest == digest_before_fetching(entry, catalogue)
    assert settled.created == day(1)
    assert "AP50 1.000, on drawings of our own" in (settled.path / "README.md").read_text()


@pytest.mark.parametrize(
    ("data", "status", "said"),
    [
        (WEIGHTS[:-1] + b"x", 200, "another sha256 than the catalogue's"),
        (WEIGHTS[:-1], 200, "another sha256 than the catalogue's"),
        (WEIGHTS + b"x", 200, "more than the catalogue's 314 bytes"),
        (b"gone", 404, "404 Not Found"),
    ],
)
def test_anything_else_is_refused_and_names_the_other_way(
    catalogue: Path, tmp_path: Path, data: bytes, status: int, said: str
) -> None:
    entry = choose(entries(catalogue), "code", "1")
    with pytest.raises(ImportRefused, match=f"{said}.*--mirror DIR"):
        assemble(entry, tmp_path / "new", client=served(data, status), catalogue=catalogue)


def test_a_network_that_is_not_there_is_refused_alike(catalogue: Path, tmp_path: Path) -> None:
    def fail(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("no route", request=request)

    entry = choose(entries(catalogue), "code", "1")
    with pytest.raises(ImportRefused, match=r"no route.*--mirror DIR"):
        assemble(
            entry,
            tmp_path / "new",
            client=lambda: httpx.Client(transport=httpx.MockTransport(fail)),
            catalogue=catalogue,
        )


def test_a_mirror_is_searched_by_sha256_whatever_the_file_is_called(catalogue: Path, tmp_path: Path) -> None:
    mirror = tmp_path / "mirror"
    (mirror / "deep/er").mkdir(parents=True)
    (mirror / "code.onnx").write_bytes(WEIGHTS[:-1] + b"x")
    entry = choose(entries(catalogue), "code", "1")
    with pytest.raises(ImportRefused, match="has no file with the sha256"):
        assemble(entry, tmp_path / "none", mirror=mirror, catalogue=catalogue)
    (mirror / "deep/er/file").write_bytes(WEIGHTS)
    folder = assemble(entry, tmp_path / "new", mirror=mirror, catalogue=catalogue)
    assert (folder / "weights.onnx").read_bytes() == WEIGHTS


@pytest.mark.parametrize("entry", entries(), ids=lambda entry: str(entry.tag))
def test_every_entry_of_our_catalogue_is_whole(entry: CatalogueEntry) -> None:
    config = parse_config(small_files(entry)["config.json"])
    check_family(config)
    assert config == config_of(entry)
    assert config.licence == entry.licence
    assert config.created == entry.created
    assert config.output.names, "outputs are bound by name"
    assert entry.tag.version.startswith("v")
    assert entry.measured.startswith("AP50 0.") or entry.measured == "not tried"
    assert not re.search("AGPL|GPL|NC", entry.licence)
    assert {path for _, path in config.named_files} <= entry.downloads.keys()


@pytest.mark.parametrize("entry", entries(), ids=lambda entry: str(entry.tag))
def test_every_address_of_our_catalogue_stays_what_it_is(entry: CatalogueEntry) -> None:
    """A branch moves, a commit does not; of what was not tried the sha256 alone may hold it."""
    config = config_of(entry)
    commits = re.findall(r"/([0-9a-f]{40})/", str(entry.url))
    assert len(commits) == 1 or entry.quality is None
    for commit in commits:
        assert commit in str(entry.source)
        assert config.source is not None
        assert commit in config.source
    assert {each.url.scheme for each in (*entry.downloads.values(),)} == {entry.source.scheme} == {"https"}


def test_our_catalogue_has_no_config_without_entry_and_no_tag_or_weights_twice() -> None:
    found = entries()
    named = {entry.config for entry in found} | {"index.json"}
    assert {path.name for path in CATALOGUE.iterdir()} == named
    assert len({entry.tag for entry in found}) == len({entry.sha256 for entry in found}) == len(found)


def test_versions_of_one_name_rise_with_their_time() -> None:
    for name in {entry.name for entry in entries()}:
        versions = [entry for entry in entries() if entry.name == name]
        by_time = sorted(versions, key=lambda entry: entry.created)
        assert by_time == sorted(versions, key=lambda entry: natural_key(entry.version))


def test_a_version_of_several_files_comes_whole_or_not_at_all(catalogue: Path, tmp_path: Path) -> None:
    more = {"text.onnx": b"a text tower", "words/tokenizer.json": b"{}"}
    index = json.loads((catalogue / "index.json").read_text())
    (entry,) = index["models"] = index["models"][:1]
    del entry["quality"]
    entry["files"] = {
        path: {
            "url": f"https://models.example/{path}",
            "sha256": hashlib.sha256(data).hexdigest(),
            "size": len(data),
        }
        for path, data in more.items()
    }
    (catalogue / "index.json").write_text(json.dumps(index))
    (found,) = entries(catalogue)
    assert (found.measured, found.total) == ("not tried", len(WEIGHTS) + 14)
    answers = {f"/{path}": data for path, data in more.items()} | {"/code.onnx": WEIGHTS}

    def client() -> httpx.Client:
        return httpx.Client(
            transport=httpx.MockTransport(lambda asked: httpx.Response(200, content=answers[asked.url.path]))
        )

    folder = assemble(found, tmp_path / "new", client=client, catalogue=catalogue)
    assert {path: (folder / path).read_bytes() for path in more} == more
    assert "not tried with the original weights" in (folder / "README.md").read_text()
    answers["/text.onnx"] = b"another one!"
    with pytest.raises(ImportRefused, match=r"text\.onnx: received 12 bytes with another sha256"):
        assemble(found, tmp_path / "other", client=client, catalogue=catalogue)


@pytest.mark.parametrize(
    "quality", ["AP50 0.5", {"measure": "AP50", "value": 50, "how": "x"}, {"measure": "AP50", "value": 0.5}]
)
def test_an_entry_says_what_was_measured_and_how(catalogue: Path, quality: object) -> None:
    index = json.loads((catalogue / "index.json").read_text())
    index["models"][0]["quality"] = quality
    (catalogue / "index.json").write_text(json.dumps(index))
    with pytest.raises(ValidationError, match=r"models\.0\.quality"):
        entries(catalogue)
